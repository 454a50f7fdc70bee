/* Exercises the library from many threads: run under the thread sanitizer and the address sanitizer.
 *
 * Prints "ok" and ends with 0; a wrong result ends with 1 and a line that says where. An alarm ends it if
 * it hangs.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "local.h"

#define REQUIRE(condition)                                                          \
  do {                                                                              \
    if (!(condition)) {                                                             \
      fprintf(stderr, "%s:%d: wrong: %s\n", __FILE__, __LINE__, #condition);        \
      exit(1);                                                                      \
    }                                                                               \
  } while (0)

#define WAIT_NS 60000000000u

/* ---- packed command lists ------------------------------------------------------------------------------ */

static int32_t increment(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup) {
  ((uint32_t *)dispatch->bindings[0])[workgroup->id[0]] += 1; /* plain: the sanitizer sees what overlaps */
  if (workgroup->local_memory_size) memset(workgroup->local_memory, 1, workgroup->local_memory_size);
  return THALWEG_KERNEL_OK;
}

static int32_t fail_at(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup) {
  return workgroup->id[0] == dispatch->constants[0] ? 5 : 0;
}

typedef struct command {
  uint32_t opcode, number, tile_count, reserved, first_address, address_count, first_constant, constant_count;
  uint64_t payload;
  uint32_t workgroup_count[3], local_memory, pattern, name;
} command;

/* Makes a list of `repeats` equal dispatches over `width` workgroups with a barrier after each; slot 0 is
 * bound. */
static tw_program *make_program(tw_pool *pool, thalweg_kernel_t kernel, uint32_t width, uint32_t repeats) {
  uint32_t header[16] = {0x4C435754, 1, repeats, repeats, 1, 1, 1, 1, 8, 0};
  uint32_t segment[4] = {0, 1, width, 0}, patch[4] = {1, 0, 0, 0};
  uint64_t address = 0, offset = 0;
  uint32_t constants[2] = {width / 2, 0};
  size_t size = 64 + repeats * (64 + 16) + 24 + 8 + 8 + 8;
  unsigned char *bytes = malloc(size), *at = bytes;
#define PUT(value, count) (memcpy(at, value, count), at += count)
  PUT(header, 64);
  for (uint32_t i = 0; i < repeats; ++i) {
    command one = {1, i, width, 0, 0, 1, 0, 1, (uint64_t)(uintptr_t)kernel, {width, 1, 1}, 256, 0, 0};
    PUT(&one, 64);
  }
  for (uint32_t i = 0; i < repeats; ++i) {
    segment[0] = i;
    PUT(segment, 16);
  }
  PUT(patch, 16);
  PUT(&offset, 8);
  PUT(&address, 8);
  PUT(constants, 8);
  PUT("kernel\0", 8);
#undef PUT
  REQUIRE((size_t)(at - bytes) == size);
  tw_program *program = tw_program_create(pool, bytes, size);
  free(bytes);
  return program;
}

/* ---- semaphores ---------------------------------------------------------------------------------------- */

#define ROUNDS 300u

static void *play(void *argument) {
  tw_semaphore *ball = argument;
  for (uint64_t turn = 1; turn < ROUNDS; turn += 2) {
    REQUIRE(tw_semaphore_wait(ball, turn, WAIT_NS) == TW_OK);
    REQUIRE(tw_semaphore_signal(ball, turn + 1) == TW_OK);
  }
  return NULL;
}

static void *wait_for_failure(void *argument) {
  tw_cause_view view;
  REQUIRE(tw_semaphore_wait(argument, ROUNDS + 7, WAIT_NS) == TW_FAILED);
  REQUIRE(tw_semaphore_cause(argument, &view) == TW_FAILED && view.token == 42 && !strcmp(view.text, "gone"));
  return NULL;
}

static void test_semaphores(void) {
  tw_semaphore *ball = tw_semaphore_create(0);
  pthread_t threads[4];
  pthread_create(&threads[0], NULL, play, ball);
  for (uint64_t turn = 0; turn < ROUNDS; turn += 2) {
    REQUIRE(tw_semaphore_wait(ball, turn, WAIT_NS) == TW_OK);
    REQUIRE(tw_semaphore_signal(ball, turn + 1) == TW_OK);
  }
  pthread_join(threads[0], NULL);
  REQUIRE(tw_semaphore_wait(ball, ROUNDS + 1, 1000) == TW_TIMEOUT);
  REQUIRE(tw_semaphore_signal(ball, 1) == TW_INVALID);
  for (int i = 0; i < 4; ++i) pthread_create(&threads[i], NULL, wait_for_failure, ball);
  tw_semaphore_release(tw_semaphore_create(3));
  tw_semaphore *doomed = tw_semaphore_create(0);
  for (int i = 0; i < 4; ++i) {
    REQUIRE(tw_semaphore_fail(ball, i ? 43 : 42, i ? "later" : "gone") == TW_OK);
    pthread_join(threads[i], NULL);
  }
  REQUIRE(tw_semaphore_signal(ball, 1u << 20) == TW_FAILED);
  tw_semaphore_release(doomed);
  tw_semaphore_release(ball);
}

/* ---- the pool ------------------------------------------------------------------------------------------ */

#define WIDTH 257u
#define REPEATS 20u

typedef struct replayer {
  tw_program *program;
  uint32_t runs;
} replayer;

static void *replay(void *argument) {
  replayer *self = argument;
  uint32_t *words = calloc(WIDTH, sizeof(*words));
  uint64_t address = (uint64_t)(uintptr_t)words;
  for (uint32_t run = 1; run <= self->runs; ++run) {
    REQUIRE(tw_program_call(self->program, &address) == TW_OK);
    for (uint32_t i = 0; i < WIDTH; ++i) REQUIRE(words[i] == run * REPEATS);
  }
  free(words);
  return NULL;
}

static void test_pool(uint32_t thread_count) {
  tw_pool *pool = tw_pool_create(thread_count);
  tw_program *wide = make_program(pool, increment, WIDTH, REPEATS);
  tw_program *broken = make_program(pool, fail_at, WIDTH, REPEATS);
  REQUIRE(wide && broken);
  pthread_t threads[3];
  replayer self = {wide, 30};
  for (int i = 0; i < 3; ++i) pthread_create(&threads[i], NULL, replay, &self);
  uint64_t address = (uint64_t)(uintptr_t)&address;
  for (int i = 0; i < 50; ++i) REQUIRE(tw_program_call(broken, &address) == (1ull << 32 | 5));
  for (int i = 0; i < 3; ++i) pthread_join(threads[i], NULL);
  tw_program_release(broken);
  tw_pool_close(pool);
  REQUIRE(tw_program_call(wide, &address) == TW_CLOSED);
  tw_pool_release(pool); /* the program still holds it */
  tw_program_release(wide);
}

static void *close_pool(void *argument) {
  tw_pool_close(argument);
  return NULL;
}

static void test_pool_closed_while_it_runs(void) {
  for (int round = 0; round < 20; ++round) {
    tw_pool *pool = tw_pool_create(3);
    tw_program *program = make_program(pool, increment, WIDTH, REPEATS);
    uint32_t *words = calloc(WIDTH, sizeof(*words));
    uint64_t address = (uint64_t)(uintptr_t)words, result;
    pthread_t closer;
    pthread_create(&closer, NULL, close_pool, pool);
    while ((result = tw_program_call(program, &address)) == TW_OK) {
    }
    REQUIRE(result == TW_CLOSED);
    pthread_join(closer, NULL);
    tw_program_release(program);
    tw_pool_release(pool);
    free(words);
  }
}

/* ---- queues -------------------------------------------------------------------------------------------- */

static atomic_uint host_runs;

static uint64_t host_work(uint64_t token, char *text, uint64_t text_size) {
  atomic_fetch_add(&host_runs, 1);
  if (token != 13) return 0;
  snprintf(text, text_size, "thirteen");
  return 99;
}

static tw_queue *make_queue(int threaded, tw_host_work work) {
  tw_queue *queue = tw_queue_create(threaded);
  tw_queue_set_host_work(queue, work);
  return queue;
}

typedef struct lane {
  tw_queue *queue;
  tw_program *program;
  tw_semaphore *start;
} lane;

/* Builds a chain of work on one timeline, backwards, so that every wait comes before its signal. */
static void *submit_chain(void *argument) {
  lane *self = argument;
  const uint64_t length = 40;
  tw_semaphore *timeline = tw_semaphore_create(0);
  uint32_t *words = calloc(WIDTH, sizeof(*words));
  uint64_t address = (uint64_t)(uintptr_t)words, size = WIDTH * sizeof(*words), numbers[8];
  for (uint64_t step = length; step > 0; --step) {
    tw_wait waits[2] = {{timeline, step}, {self->start, 1}}, signals[1] = {{timeline, step + 1}};
    bool host = step % 4 == 0;
    tw_program *program = host ? NULL : self->program;
    REQUIRE(tw_queue_submit(self->queue, program, &address, &size, 1, host ? step : 0, waits, 2, signals, 1,
                            step) == TW_OK);
    tw_queue_reap(self->queue, numbers, 8);
  }
  tw_semaphore_signal(timeline, 1);
  tw_semaphore_signal(self->start, 1); /* one of the lanes is first */
  REQUIRE(tw_semaphore_wait(timeline, length + 1, WAIT_NS) == TW_OK);
  for (uint32_t i = 0; i < WIDTH; ++i) REQUIRE(words[i] == REPEATS * (length - length / 4));
  tw_semaphore_release(timeline);
  free(words);
  return NULL;
}

static void test_queue(int threaded, uint32_t thread_count) {
  tw_pool *pool = tw_pool_create(thread_count);
  tw_queue *queue = make_queue(threaded, host_work);
  tw_program *program = make_program(pool, increment, WIDTH, REPEATS);
  lane self = {queue, program, tw_semaphore_create(0)};
  pthread_t threads[4];
  for (int i = 0; i < 4; ++i) pthread_create(&threads[i], NULL, submit_chain, &self);
  for (int i = 0; i < 4; ++i) pthread_join(threads[i], NULL);
  REQUIRE(tw_queue_wait_idle(queue, WAIT_NS) == TW_OK);
  tw_program_release(program);
  tw_queue_close(queue);
  tw_queue_release(queue);
  tw_pool_close(pool);
  tw_pool_release(pool);
  tw_semaphore_release(self.start);
}

typedef struct race {
  tw_semaphore *semaphore;
  int act; /* 0 signals, 1 fails */
} race;

static void *resolve_it(void *argument) {
  race *self = argument;
  if (self->act) {
    tw_semaphore_fail(self->semaphore, 7, "raced");
  } else {
    tw_semaphore_signal(self->semaphore, 1);
  }
  return NULL;
}

/* Waits that are reached, failed, submitted and stranded by a close, all at once. */
static void test_races(int threaded) {
  for (int round = 0; round < 200; ++round) {
    tw_queue *queue = make_queue(threaded, host_work);
    tw_semaphore *gates[3], *ends[8];
    race races[3];
    pthread_t threads[3];
    for (int i = 0; i < 3; ++i) {
      gates[i] = tw_semaphore_create(0);
      races[i] = (race){gates[i], (round + i) % 3 == 0};
      pthread_create(&threads[i], NULL, resolve_it, &races[i]);
    }
    for (int i = 0; i < 8; ++i) {
      ends[i] = tw_semaphore_create(0);
      tw_wait waits[3] = {{gates[i % 3], 1}, {gates[(i + 1) % 3], 1}, {gates[i % 3], i % 4 ? 1 : 2}};
      tw_wait signals[1] = {{ends[i], 1}};
      uint64_t number = (uint64_t)i;
      REQUIRE(tw_queue_submit(queue, NULL, NULL, NULL, 0, number, waits, 3, signals, 1, number) == TW_OK);
    }
    for (int i = 0; i < 3 && round % 2; ++i) pthread_join(threads[i], NULL);
    tw_queue_close(queue);
    tw_queue_release(queue); /* in even rounds while waits are still being resolved */
    for (int i = 0; i < 3 && round % 2 == 0; ++i) pthread_join(threads[i], NULL);
    for (int i = 0; i < 8; ++i) {
      int result = tw_semaphore_wait(ends[i], 1, WAIT_NS);
      REQUIRE(result == TW_OK || result == TW_FAILED);
      tw_semaphore_release(ends[i]);
    }
    for (int i = 0; i < 3; ++i) {
      tw_semaphore_signal(gates[i], 3);
      tw_semaphore_release(gates[i]);
    }
  }
}

/* Submissions race with the close; each is refused, runs or fails. */
static void *submit_until_closed(void *argument) {
  tw_queue *queue = argument;
  for (uint64_t number = 0;; ++number) {
    tw_semaphore *gate = tw_semaphore_create(0), *end = tw_semaphore_create(0);
    tw_wait waits[1] = {{gate, 1}}, signals[1] = {{end, 1}};
    int result = tw_queue_submit(queue, NULL, NULL, NULL, 0, 0, waits, 1, signals, 1, number);
    if (result == TW_OK && number % 2) tw_semaphore_signal(gate, 1);
    if (result == TW_OK && number % 2) tw_semaphore_wait(end, 1, WAIT_NS);
    tw_semaphore_release(gate);
    tw_semaphore_release(end);
    if (result == TW_CLOSED) return NULL;
    REQUIRE(result == TW_OK);
    if (number > 50) usleep(100);
  }
}

static void test_close_while_submitting(int threaded) {
  for (int round = 0; round < 10; ++round) {
    tw_queue *queue = make_queue(threaded, host_work);
    pthread_t threads[3];
    for (int i = 0; i < 3; ++i) pthread_create(&threads[i], NULL, submit_until_closed, queue);
    usleep(500);
    tw_queue_close(queue);
    for (int i = 0; i < 3; ++i) pthread_join(threads[i], NULL);
    tw_queue_release(queue);
  }
}

static void test_failing_host_work(void) {
  tw_queue *queue = make_queue(1, host_work);
  tw_semaphore *end = tw_semaphore_create(0);
  tw_wait signals[1] = {{end, 1}};
  tw_cause_view view;
  REQUIRE(tw_queue_submit(queue, NULL, NULL, NULL, 0, 13, NULL, 0, signals, 1, 1) == TW_OK);
  REQUIRE(tw_semaphore_wait(end, 1, WAIT_NS) == TW_FAILED);
  REQUIRE(tw_semaphore_cause(end, &view) == TW_FAILED && view.token == 99 && !strcmp(view.text, "thirteen"));
  tw_queue_close(queue);
  tw_queue_release(queue);
  tw_semaphore_release(end);
}

static tw_queue *self_closing;

static uint64_t close_inside(uint64_t token, char *text, uint64_t text_size) {
  (void)text, (void)text_size;
  if (token == 1) tw_queue_close(self_closing);
  REQUIRE(token == 1); /* what was ready behind it does not run */
  return 0;
}

static void test_close_from_inside(int threaded) {
  self_closing = make_queue(threaded, close_inside);
  tw_semaphore *gate = tw_semaphore_create(0);
  tw_semaphore *first = tw_semaphore_create(0), *second = tw_semaphore_create(0);
  tw_wait waits[1] = {{gate, 1}}, signals[2] = {{first, 1}, {second, 1}};
  REQUIRE(tw_queue_submit(self_closing, NULL, NULL, NULL, 0, 1, waits, 1, signals, 1, 1) == TW_OK);
  REQUIRE(tw_queue_submit(self_closing, NULL, NULL, NULL, 0, 2, waits, 1, signals + 1, 1, 2) == TW_OK);
  REQUIRE(tw_semaphore_signal(gate, 1) == TW_OK);
  REQUIRE(tw_semaphore_wait(first, 1, WAIT_NS) == TW_OK);
  REQUIRE(tw_semaphore_wait(second, 1, WAIT_NS) == TW_FAILED);
  tw_queue_release(self_closing);
  tw_semaphore_release(gate);
  tw_semaphore_release(first);
  tw_semaphore_release(second);
}

/* ---- damaged lists ------------------------------------------------------------------------------------- */

/* Changes each 32-bit word of a list to each of some values: it is refused, or it can be released. */
static void test_damaged_programs(void) {
  static const uint32_t values[] = {0, 1, 2, 3, 7, 8, 255, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF};
  uint32_t words[(64 + 64 + 16 + 24 + 8 + 8 + 8) / 4];
  tw_pool *pool = tw_pool_create(1);
  for (size_t at = 0; at < sizeof(words) / 4; ++at) {
    for (size_t value = 0; value < sizeof(values) / sizeof(*values); ++value) {
      uint32_t header[16] = {0x4C435754, 1, 1, 1, 1, 1, 1, 1, 8, 0};
      command one = {1, 0, 4, 0, 0, 1, 0, 1, (uint64_t)(uintptr_t)increment, {4, 1, 1}, 0, 0, 0};
      uint32_t tail[16] = {0, 1, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0x41, 0};
      memcpy(words, header, 64);
      memcpy(words + 16, &one, 64);
      memcpy(words + 32, tail, sizeof(words) - 128);
      words[at] = values[value];
      tw_program *program = tw_program_create(pool, words, sizeof(words));
      if (program) tw_program_command_name(program, 0);
      tw_program_release(program);
    }
  }
  for (size_t size = 0; size < sizeof(words); ++size) REQUIRE(!tw_program_create(pool, words, size));
  tw_pool_release(pool);
}

/* ---- forks --------------------------------------------------------------------------------------------- */

static void test_fork(void) {
  tw_pool *pool = tw_pool_create(2);
  tw_queue *queue = make_queue(1, host_work);
  tw_program *program = make_program(pool, increment, 1, 1);
  tw_semaphore *semaphore = tw_semaphore_create(0);
  uint32_t word = 0;
  uint64_t address = (uint64_t)(uintptr_t)&word, value;
  tw_fork_generation();
  pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    bool refused = tw_program_call(program, &address) == TW_CLOSED &&
                   tw_semaphore_signal(semaphore, 1) == TW_CLOSED &&
                   tw_semaphore_query(semaphore, &value) == TW_CLOSED &&
                   tw_semaphore_wait(semaphore, 1, WAIT_NS) == TW_CLOSED &&
                   tw_queue_submit(queue, NULL, NULL, NULL, 0, 0, NULL, 0, NULL, 0, 1) == TW_CLOSED &&
                   tw_queue_wait_idle(queue, WAIT_NS) == TW_CLOSED;
    tw_queue_close(queue);
    tw_queue_release(queue);
    tw_semaphore_release(semaphore);
    tw_pool_close(pool);
    _exit(refused ? 0 : 1);
  }
  int status;
  REQUIRE(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
  REQUIRE(tw_program_call(program, &address) == TW_OK && word == 1);
  tw_program_release(program);
  tw_semaphore_release(semaphore);
  tw_queue_close(queue);
  tw_queue_release(queue);
  tw_pool_close(pool);
  tw_pool_release(pool);
}

int main(void) {
  alarm(45);
  test_semaphores();
  for (uint32_t threads = 1; threads <= 4; ++threads) test_pool(threads);
  test_pool_closed_while_it_runs();
  for (int threaded = 0; threaded < 2; ++threaded) {
    test_queue(threaded, 1);
    test_queue(threaded, 3);
    test_races(threaded);
    test_close_while_submitting(threaded);
    test_close_from_inside(threaded);
  }
  test_failing_host_work();
  test_damaged_programs();
  test_fork();
  REQUIRE(atomic_load(&host_runs) > 0);
  puts("ok");
  return 0;
}
