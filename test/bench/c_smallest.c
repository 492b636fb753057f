/* The smallest client: it connects, sends a message, and prints the answer. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

int main(void) {
  char answer[1024];
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(8888)};
  inet_pton(AF_INET, "127.0.0.1", &name.sin_addr);
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0 || connect(fd, (struct sockaddr*)&name, sizeof name) < 0) {
    perror("connect");
    return 1;
  }
  if (send(fd, "Hello!!", 7, MSG_NOSIGNAL) != 7) {
    perror("send");
    return 1;
  }
  ssize_t got = recv(fd, answer, sizeof answer, 0);
  if (got < 0) {
    perror("recv");
    return 1;
  }
  printf("%.*s\n", (int)got, answer);
  close(fd);
}
