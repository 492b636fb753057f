/* [STACK]: echoes each connection in a new thread, which has a stack of that many bytes. */
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

int main(int argc, char** argv) {
  int listener = tcp_listener();
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  if (argc > 1) pthread_attr_setstacksize(&attributes, strtoul(argv[1], NULL, 10));
  for (;;) {
    void* connection = (void*)(intptr_t)accept_one(listener);
    pthread_t thread;
    if (pthread_create(&thread, &attributes, serve, connection) != 0) die("pthread_create");
  }
}
