/* What the programs in C share: error exits, sending a whole buffer, sockets on a free port. */
#ifndef C_COMMON_H
#define C_COMMON_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static inline void die(const char* what) {
  perror(what);
  exit(1);
}

/* Returns 0, or -1 if the peer has closed. */
static inline int send_all(int fd, const char* data, size_t size) {
  while (size > 0) {
    ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
    if (sent < 0) return -1;
    data += sent;
    size -= (size_t)sent;
  }
  return 0;
}

/* Returns a socket that is bound to a free port, and prints the port. */
static inline int bound(int type, in_addr_t host) {
  int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(host)};
  socklen_t size = sizeof name;
  if (fd < 0 || bind(fd, (struct sockaddr*)&name, size) < 0) die("bind");
  if (type == SOCK_STREAM && listen(fd, SOMAXCONN) < 0) die("listen");
  if (getsockname(fd, (struct sockaddr*)&name, &size) < 0) die("getsockname");
  printf("%d\n", ntohs(name.sin_port));
  fflush(stdout);
  return fd;
}

static inline int tcp_listener(void) { return bound(SOCK_STREAM, INADDR_ANY); }
static inline int udp_socket(void) { return bound(SOCK_DGRAM, INADDR_LOOPBACK); }

static inline int accept_one(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0) die("accept");
  return fd;
}

static inline void echo(int fd, char* buffer, size_t size) {
  ssize_t got;
  while ((got = recv(fd, buffer, size, 0)) > 0) {
    if (send_all(fd, buffer, (size_t)got) < 0) break;
  }
}

#endif
