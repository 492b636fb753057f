/* [LIBRARY]: echoes each connection in a new process. The library is loaded and not used. */
#include <dlfcn.h>
#include <signal.h>

#include "c_common.h"

int main(int argc, char** argv) {
  if (argc > 1 && dlopen(argv[1], RTLD_NOW) == NULL) die(argv[1]);
  int listener = tcp_listener();
  signal(SIGCHLD, SIG_IGN); /* The kernel reaps the children. */
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
