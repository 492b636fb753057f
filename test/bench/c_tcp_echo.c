/* [TIMEOUT]: echoes one connection after the other. The timeout, in seconds, is for each call and
 * kept by the kernel (SO_RCVTIMEO, SO_SNDTIMEO). */
#include "c_common.h"

int main(int argc, char** argv) {
  static char buffer[65536];
  int listener = tcp_listener();
  for (;;) {
    int fd = accept_one(listener), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (argc > 1) {
      struct timeval timeout = {.tv_sec = atoi(argv[1])};
      setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
      setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    }
    echo(fd, buffer, sizeof buffer);
    close(fd);
  }
}
