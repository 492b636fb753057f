/* PORT COUNT: sends that many datagrams of 64 bytes and receives each back. */
#include "c_common.h"

int main(int argc, char** argv) {
  char message[64] = "";
  if (argc != 3) return 2;
  struct sockaddr_in server = {.sin_family = AF_INET,
                               .sin_port = htons((in_port_t)atoi(argv[1])),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  for (int left = atoi(argv[2]); left > 0; --left) {
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    if (sendto(fd, message, sizeof message, MSG_NOSIGNAL, (struct sockaddr*)&server,
               sizeof server) < 0) {
      die("sendto");
    }
    if (recvfrom(fd, message, sizeof message, 0, (struct sockaddr*)&peer, &size) < 0) {
      die("recvfrom");
    }
  }
  close(fd);
}
