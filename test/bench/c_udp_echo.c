#include "c_common.h"

int main(void) {
  static char buffer[65536];
  int fd = udp_socket();
  for (;;) {
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    ssize_t got = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr*)&peer, &size);
    if (got < 0) die("recvfrom");
    sendto(fd, buffer, (size_t)got, 0, (struct sockaddr*)&peer, size);
  }
}
