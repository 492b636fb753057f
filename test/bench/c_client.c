/* The client of all servers: MODE PORT COUNT SIZE CLIENTS, prints how many nanoseconds it took.
 *
 * Messages have SIZE bytes and end in a newline. In these modes each of CLIENTS threads does the
 * same COUNT times:
 *   pingpong      sends a message and receives it back, on one connection
 *   connect       connects, sends a message, receives it back, and closes
 *   udp           sends a datagram and receives it back
 *   udp_window    does so with 64 datagrams under way
 * In these modes there is one thread:
 *   hold          as connect, but CLIENTS connections stay open: each new one replaces the oldest
 *   receive       receives everything that the server sends; COUNT and SIZE do not matter
 *   lines         sends COUNT messages without a pause and receives them at the same time
 */
#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "c_common.h"

enum { kWindow = 64 };

static in_port_t port;
static long count, clients;
static size_t size;
static char* message;
static pthread_barrier_t ready;

static int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* The server listens on all of 127/8, and each 1000 connections use another address of it: ports
 * of closed connections stay in TIME_WAIT, and with one address they would run out. */
static int connected(uint32_t number) {
  struct sockaddr_in name = {.sin_family = AF_INET,
                             .sin_port = port,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK + number / 1000 % 60000)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
  if (fd < 0) die("socket");
  if (connect(fd, (struct sockaddr*)&name, sizeof name) < 0) die("connect");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

static int connected_udp(void) {
  struct sockaddr_in name = {
      .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  struct timeval patience = {.tv_sec = 5};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (fd < 0 || connect(fd, (struct sockaddr*)&name, sizeof name) < 0) die("connect");
  return fd;
}

/* Sends as long as the kernel takes it and receives otherwise. With large messages client and
 * server would both block in send. */
static void exchange(int fd, char* buffer) {
  size_t sent = 0, got = 0;
  while (got < size) {
    if (sent < size) {
      ssize_t n = send(fd, message + sent, size - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n < 0 && errno != EAGAIN) die("send");
      if (n > 0) {
        sent += (size_t)n;
        continue;
      }
    }
    ssize_t n = recv(fd, buffer, size - got, 0);
    if (n <= 0) die("recv");
    got += (size_t)n;
  }
}

static void* pingpong(void* buffer) {
  int fd = connected(0);
  exchange(fd, buffer);
  pthread_barrier_wait(&ready);
  for (long i = 0; i < count; ++i) exchange(fd, buffer);
  close(fd);
  return NULL;
}

static void* connect_each(void* buffer) {
  static uint32_t numbers;
  uint32_t number = __atomic_fetch_add(&numbers, (uint32_t)count, __ATOMIC_RELAXED);
  pthread_barrier_wait(&ready);
  for (long i = 0; i < count; ++i) {
    int fd = connected(number++);
    exchange(fd, buffer);
    close(fd);
  }
  return NULL;
}

static void* hold(void* buffer) {
  int* open = calloc((size_t)clients, sizeof *open);
  if (open == NULL) die("calloc");
  for (long i = -clients; i < count; ++i) {
    if (i == 0) pthread_barrier_wait(&ready);
    int* oldest = &open[(i + clients) % clients];
    if (i >= 0) close(*oldest);
    *oldest = connected((uint32_t)(i + clients));
    exchange(*oldest, buffer);
  }
  free(open);
  return NULL;
}

static void send_datagram(int fd) {
  if (send(fd, message, size, 0) < 0) die("send");
}

static void receive_datagram(int fd, char* buffer) {
  if (recv(fd, buffer, size, 0) < 0) die("recv: a datagram was lost");
}

static void* datagrams(long window, char* buffer) {
  int fd = connected_udp();
  send_datagram(fd);
  receive_datagram(fd, buffer);
  pthread_barrier_wait(&ready);
  for (long i = 0; i < window; ++i) send_datagram(fd);
  for (long i = window; i < count; ++i) {
    receive_datagram(fd, buffer);
    send_datagram(fd);
  }
  for (long i = 0; i < window; ++i) receive_datagram(fd, buffer);
  close(fd);
  return NULL;
}

static void* udp(void* buffer) { return datagrams(1, buffer); }
static void* udp_window(void* buffer) { return datagrams(kWindow, buffer); }

static void* receive(void* unused) {
  static char buffer[1 << 18];
  pthread_barrier_wait(&ready);
  int fd = connected(0);
  ssize_t got;
  while ((got = recv(fd, buffer, sizeof buffer, 0)) > 0) {
  }
  if (got < 0) die("recv");
  close(fd);
  return unused;
}

static void* receive_lines(void* connection) {
  static char buffer[65536];
  int fd = *(int*)connection;
  for (size_t left = (size_t)count * size; left > 0;) {
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0) die("recv");
    left -= (size_t)got;
  }
  return NULL;
}

static void* lines(void* unused) {
  enum { kBatch = 1000 };
  pthread_t receiver;
  int fd = connected(0);
  char* batch = malloc(kBatch * size);
  if (batch == NULL) die("malloc");
  for (size_t i = 0; i < kBatch; ++i) memcpy(batch + i * size, message, size);
  pthread_barrier_wait(&ready);
  if (pthread_create(&receiver, NULL, receive_lines, &fd) != 0) die("pthread_create");
  for (long left = count; left > 0; left -= kBatch) {
    size_t now_many = (size_t)(left < kBatch ? left : kBatch);
    if (send_all(fd, batch, now_many * size) < 0) die("send");
  }
  shutdown(fd, SHUT_WR);
  pthread_join(receiver, NULL);
  close(fd);
  free(batch);
  return unused;
}

static int64_t timed(void* (*run)(void*), long times) {
  pthread_t* threads = calloc((size_t)times, sizeof *threads);
  if (threads == NULL) die("calloc");
  pthread_barrier_init(&ready, NULL, (unsigned)times + 1);
  for (long i = 0; i < times; ++i) {
    if (pthread_create(&threads[i], NULL, run, malloc(size)) != 0) die("pthread_create");
  }
  pthread_barrier_wait(&ready);
  int64_t start = now();
  for (long i = 0; i < times; ++i) pthread_join(threads[i], NULL);
  return now() - start;
}

int main(int argc, char** argv) {
  static const struct {
    const char* name;
    void* (*run)(void*);
    int alone;
  } modes[] = {{"pingpong", pingpong, 0}, {"connect", connect_each, 0},
               {"udp", udp, 0},           {"udp_window", udp_window, 0},
               {"hold", hold, 1},         {"receive", receive, 1},
               {"lines", lines, 1}};
  if (argc != 6) return 2;
  port = htons((in_port_t)atoi(argv[2]));
  count = atol(argv[3]);
  size = (size_t)atol(argv[4]);
  clients = atol(argv[5]);
  message = malloc(size);
  if (message == NULL || clients < 1) return 2;
  memset(message, 'x', size);
  message[size - 1] = '\n';
  for (size_t mode = 0; mode < sizeof modes / sizeof *modes; ++mode) {
    if (strcmp(modes[mode].name, argv[1]) == 0) {
      printf("%lld\n", (long long)timed(modes[mode].run, modes[mode].alone ? 1 : clients));
      return 0;
    }
  }
  return 2;
}
