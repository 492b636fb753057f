/* PORT COUNT: opens that many connections, sends a message on each and receives it back, prints
 * "held", and keeps the connections open until standard input ends. */
#include "c_common.h"

int main(int argc, char** argv) {
  char message[64] = "";
  if (argc != 3) return 2;
  struct sockaddr_in name = {.sin_family = AF_INET,
                             .sin_port = htons((in_port_t)atoi(argv[1])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  for (int left = atoi(argv[2]); left > 0; --left) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr*)&name, sizeof name) < 0) die("connect");
    /* Closing resets the connection, so that its port is free at once. */
    struct linger at_once = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (send_all(fd, message, sizeof message) < 0) die("send");
    if (recv(fd, message, sizeof message, MSG_WAITALL) != sizeof message) die("recv");
  }
  puts("held");
  fflush(stdout);
  while (getchar() != EOF) {
  }
}
