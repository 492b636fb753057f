/* PATH BYTES: sends so much of the file to each connection, with sendfile(2). */
#include <fcntl.h>
#include <sys/sendfile.h>

#include "c_common.h"

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  int file = open(argv[1], O_RDONLY | O_CLOEXEC);
  if (file < 0) die(argv[1]);
  int listener = tcp_listener();
  for (;;) {
    int fd = accept_one(listener);
    off_t offset = 0, size = atoll(argv[2]);
    while (offset < size) {
      if (sendfile(fd, file, &offset, (size_t)(size - offset)) <= 0) die("sendfile");
    }
    close(fd);
  }
}
