/* [THREADS]: that many threads wait in recvfrom, and each echoes the datagrams it receives. */
#include <pthread.h>
#include <stdint.h>

#include "c_common.h"

static void* serve(void* argument) {
  int fd = (int)(intptr_t)argument;
  char buffer[1024];
  for (;;) {
    struct sockaddr_storage peer;
    socklen_t size = sizeof peer;
    ssize_t got = recvfrom(fd, buffer, sizeof buffer, 0, (struct sockaddr*)&peer, &size);
    if (got < 0) die("recvfrom");
    sendto(fd, buffer, (size_t)got, 0, (struct sockaddr*)&peer, size);
  }
  return NULL;
}

int main(int argc, char** argv) {
  int fd = udp_socket();
  for (int i = 1; i < (argc > 1 ? atoi(argv[1]) : 8); ++i) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, (void*)(intptr_t)fd) != 0) die("pthread_create");
  }
  serve((void*)(intptr_t)fd);
}
