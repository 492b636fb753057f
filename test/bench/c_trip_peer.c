/* COUNT: the peer of the tcp_trip programs, which exchange messages of 64 bytes.
 *
 * It sends that many messages in advance, so that no receive after the first has to wait. With a
 * COUNT of 0 it answers each message a millisecond late, so that each receive has to wait.
 */
#include "c_common.h"

enum { kMessage = 64 };

static void answer(int fd, char* buffer) {
  ssize_t got;
  while ((got = recv(fd, buffer, kMessage, MSG_WAITALL)) > 0) {
    usleep(1000);
    if (send_all(fd, buffer, (size_t)got) < 0) break;
  }
}

int main(int argc, char** argv) {
  static char buffer[65536];
  size_t size = argc == 2 ? strtoul(argv[1], NULL, 10) * kMessage : sizeof buffer + 1;
  if (size > sizeof buffer) return 2;
  int listener = tcp_listener();
  for (;;) {
    int fd = accept_one(listener), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (size == 0) {
      answer(fd, buffer);
    } else {
      usleep(1000);
      if (send_all(fd, buffer, size) < 0) die("send");
      while (recv(fd, buffer, sizeof buffer, MSG_TRUNC) > 0) {
      }
    }
    close(fd);
  }
}
