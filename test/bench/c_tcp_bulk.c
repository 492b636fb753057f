/* BYTES: sends that many to each connection, in writes of 64 KiB. */
#include "c_common.h"

int main(int argc, char** argv) {
  static char data[65536];
  int listener = tcp_listener();
  if (argc != 2) return 2;
  for (;;) {
    int fd = accept_one(listener);
    for (long long left = atoll(argv[1]); left > 0; left -= (long long)sizeof data) {
      if (send_all(fd, data, sizeof data) < 0) break;
    }
    close(fd);
  }
}
