/* TIMES: stops an idle server that often and prints the microseconds of each. */
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <time.h>

#include "c_common.h"

static int bell;

static void* serve_forever(void* argument) {
  struct pollfd waiting[] = {{.fd = bell, .events = POLLIN},
                             {.fd = (int)(intptr_t)argument, .events = POLLIN}};
  while (poll(waiting, 2, -1) > 0 && waiting[0].revents == 0) {
    close(accept_one(waiting[1].fd));
  }
  return NULL;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return 1e6 * (double)time.tv_sec + 1e-3 * (double)time.tv_nsec;
}

int main(int argc, char** argv) {
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  if (argc != 2 || listen(listener, SOMAXCONN) < 0) return 2;
  for (int i = 0; i < atoi(argv[1]); ++i) {
    pthread_t thread;
    uint64_t one = 1;
    bell = eventfd(0, EFD_CLOEXEC);
    if (pthread_create(&thread, NULL, serve_forever, (void*)(intptr_t)listener) != 0) return 1;
    usleep(20000); /* It waits by then. */
    double start = now();
    if (write(bell, &one, sizeof one) < 0) die("write");
    pthread_join(thread, NULL);
    printf("%.3f\n", now() - start);
    close(bell);
  }
}
