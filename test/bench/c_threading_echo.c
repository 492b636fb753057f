/* A detached thread for each connection. */
#include <pthread.h>
#include <stdint.h>

#include "c_common.h"

static void* serve(void* connection) {
  int fd = (int)(intptr_t)connection;
  char buffer[1024];
  echo(fd, buffer, sizeof buffer);
  close(fd);
  return NULL;
}

int main(void) {
  int listener = tcp_listener();
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  for (;;) {
    int fd = accept_one(listener);
    pthread_t thread;
    if (pthread_create(&thread, &detached, serve, (void*)(intptr_t)fd) != 0) die("pthread_create");
  }
}
