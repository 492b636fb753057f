/* A process for each connection. */
#include <signal.h>

#include "c_common.h"

int main(void) {
  int listener = tcp_listener();
  signal(SIGCHLD, SIG_IGN); /* No zombies. */
  for (;;) {
    int fd = accept_one(listener);
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child == 0) {
      char buffer[1024];
      close(listener);
      echo(fd, buffer, sizeof buffer);
      _exit(0);
    }
    close(fd);
  }
}
