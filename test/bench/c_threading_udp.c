/* Echoes each datagram in a new thread. */
#include <pthread.h>

#include "c_common.h"

struct Request {
  int fd;
  struct sockaddr_storage peer;
  socklen_t peer_size;
  size_t size;
  char data[1024];
};

static void* answer(void* argument) {
  struct Request* request = argument;
  sendto(request->fd, request->data, request->size, 0, (struct sockaddr*)&request->peer,
         request->peer_size);
  free(request);
  return NULL;
}

int main(void) {
  int fd = udp_socket();
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  for (;;) {
    struct Request* request = malloc(sizeof *request);
    if (request == NULL) die("malloc");
    request->fd = fd;
    request->peer_size = sizeof request->peer;
    ssize_t got = recvfrom(fd, request->data, sizeof request->data, 0,
                           (struct sockaddr*)&request->peer, &request->peer_size);
    if (got < 0) die("recvfrom");
    request->size = (size_t)got;
    pthread_t thread;
    if (pthread_create(&thread, &detached, answer, request) != 0) die("pthread_create");
  }
}
