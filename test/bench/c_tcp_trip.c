/* PORT COUNT [TIMEOUT [poll]]: sends so many messages of 64 bytes and receives each back. The
 * timeout, in seconds, is for each call. The kernel keeps it (SO_RCVTIMEO, SO_SNDTIMEO); with poll
 * the program calls poll(2) when a call would block. */
#include <poll.h>

#include "c_common.h"

enum { kMessage = 64 };

static int exchange(int fd, char* message, size_t size) {
  if (send_all(fd, message, size) < 0) return -1;
  while (size > 0) {
    ssize_t got = recv(fd, message, size, 0);
    if (got <= 0) return -1;
    message += got;
    size -= (size_t)got;
  }
  return 0;
}

static int wait_for(int fd, short events, int timeout) {
  struct pollfd waiting = {.fd = fd, .events = events};
  return poll(&waiting, 1, timeout) == 1 ? 0 : -1;
}

static int exchange_by_poll(int fd, char* message, size_t size, int timeout) {
  for (size_t done = 0; done < size;) {
    ssize_t sent = send(fd, message + done, size - done, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      done += (size_t)sent;
    } else if (errno != EAGAIN || wait_for(fd, POLLOUT, timeout) < 0) {
      return -1;
    }
  }
  for (size_t done = 0; done < size;) {
    ssize_t got = recv(fd, message + done, size - done, MSG_DONTWAIT);
    if (got > 0) {
      done += (size_t)got;
    } else if (got == 0 || errno != EAGAIN || wait_for(fd, POLLIN, timeout) < 0) {
      return -1;
    }
  }
  return 0;
}

int main(int argc, char** argv) {
  char message[kMessage] = "";
  if (argc < 3) return 2;
  struct sockaddr_in name = {.sin_family = AF_INET,
                             .sin_port = htons((in_port_t)atoi(argv[1])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  if (fd < 0 || connect(fd, (struct sockaddr*)&name, sizeof name) < 0) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  struct timeval timeout = {.tv_sec = argc > 3 ? atoi(argv[3]) : 0};
  int by_poll = argc > 4, milliseconds = (int)timeout.tv_sec * 1000;
  if (timeout.tv_sec > 0 && !by_poll) {
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  }
  for (int left = atoi(argv[2]); left > 0; --left) {
    int result = by_poll ? exchange_by_poll(fd, message, sizeof message, milliseconds)
                         : exchange(fd, message, sizeof message);
    if (result < 0) die("exchange");
  }
  close(fd);
}
