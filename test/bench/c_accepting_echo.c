/* [THREADS]: that many threads wait in accept, and each echoes the connections it accepts. */
#include <pthread.h>
#include <stdint.h>

#include "c_common.h"

static void* serve(void* argument) {
  int listener = (int)(intptr_t)argument;
  char buffer[1024];
  for (;;) {
    int fd = accept_one(listener);
    echo(fd, buffer, sizeof buffer);
    close(fd);
  }
  return NULL;
}

int main(int argc, char** argv) {
  int listener = tcp_listener();
  for (int i = 1; i < (argc > 1 ? atoi(argv[1]) : 16); ++i) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, (void*)(intptr_t)listener) != 0) die("pthread_create");
  }
  serve((void*)(intptr_t)listener);
}
