/* Thalweg's library for local devices: semaphores, queues, a worker pool and the replay of packed command
 * lists.
 *
 * Called through ctypes; nothing here knows of the interpreter. Objects are reference-counted; every
 * function is thread-safe. Objects belong to the process that made them: in a forked child, calls return
 * TW_CLOSED.
 */
#ifndef THALWEG_LOCAL_H_
#define THALWEG_LOCAL_H_

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "thalweg_kernel.h"

#define TW_API __attribute__((visibility("default")))
#define TW_LIBRARY_VERSION 2

/* Results of calls. */
enum {
  TW_OK = 0,
  TW_CLOSED = 1,    /* the object is closed, or belongs to the parent of this forked process */
  TW_NO_MEMORY = 2, /* no memory */
  TW_FAILED = 3,    /* the semaphore has failed */
  TW_INVALID = 4,   /* a value that is not allowed */
  TW_TIMEOUT = 5,   /* the time ran out */
};

/* ---- cause.c: why something failed --------------------------------------------------------------------- */

#define TW_CAUSE_TEXT 512

/* A failure. With a status: a kernel's, where `text` is its name. Else `text` is a message, and `token`,
 * when not 0, names an exception that the Python side keeps. */
typedef struct tw_cause {
  atomic_int references;
  uint64_t token;
  uint32_t command;
  int32_t status;
  char text[TW_CAUSE_TEXT];
} tw_cause;

/* The part of a cause that callers read. */
typedef struct tw_cause_view {
  uint64_t token;
  uint32_t command;
  int32_t status;
  char text[TW_CAUSE_TEXT];
} tw_cause_view;

tw_cause *tw_cause_create(uint64_t token, uint32_t command, int32_t status, const char *text);
tw_cause *tw_cause_retain(tw_cause *cause);
void tw_cause_release(tw_cause *cause);

/* ---- process.c: forks and thread creation -------------------------------------------------------------- */

uint32_t tw_fork_generation(void); /* changes in a forked child */
/* The thread has all signals blocked. */
int tw_thread_start(void *(*function)(void *), void *argument, uint64_t *thread);
void tw_thread_join(uint64_t thread);
void tw_thread_detach(uint64_t thread);
bool tw_thread_is_current(uint64_t thread);
uint64_t tw_now(void); /* monotonic nanoseconds */

/* ---- semaphore.c --------------------------------------------------------------------------------------- */

typedef struct tw_semaphore tw_semaphore;
typedef struct tw_submission tw_submission;

TW_API tw_semaphore *tw_semaphore_create(uint64_t initial_value);
TW_API void tw_semaphore_release(tw_semaphore *semaphore);
TW_API int tw_semaphore_query(tw_semaphore *semaphore, uint64_t *value);
TW_API int tw_semaphore_signal(tw_semaphore *semaphore, uint64_t value);
TW_API int tw_semaphore_fail(tw_semaphore *semaphore, uint64_t token, const char *text);
TW_API int tw_semaphore_wait(tw_semaphore *semaphore, uint64_t value, uint64_t timeout_ns);
TW_API int tw_semaphore_cause(tw_semaphore *semaphore, tw_cause_view *view);

tw_semaphore *tw_semaphore_retain(tw_semaphore *semaphore);
void tw_semaphore_fail_with(tw_semaphore *semaphore, tw_cause *cause);
/* Returns false when nothing was registered, because the wait is resolved already: `*cause` (retained) or
 * reached. */
bool tw_semaphore_add_timepoint(tw_semaphore *semaphore, uint64_t value, tw_submission *submission,
                                tw_cause **cause);
/* Returns how many timepoints of `submission` it took off. */
uint32_t tw_semaphore_remove_timepoints(tw_semaphore *semaphore, tw_submission *submission);

/* ---- worker_pool.c and program.c ----------------------------------------------------------------------- */

typedef struct tw_pool tw_pool;
typedef struct tw_program tw_program;
typedef struct tw_context tw_context;

/* `threads` counts the caller of a run: the pool starts one thread less. */
TW_API tw_pool *tw_pool_create(uint32_t threads);
TW_API void tw_pool_close(tw_pool *pool);
TW_API void tw_pool_release(tw_pool *pool);

tw_pool *tw_pool_retain(tw_pool *pool);
uint64_t tw_pool_run(tw_pool *pool, const tw_program *program, const tw_context *context);

/* Copies and checks `size` bytes of a packed command list; NULL when it is malformed or memory is short. */
TW_API tw_program *tw_program_create(tw_pool *pool, const void *packed, uint64_t size);
TW_API void tw_program_release(tw_program *program);
/* Replays with one address (and, where lengths are patched, one length) for each slot. Returns 0,
 * TW_CLOSED, TW_NO_MEMORY, TW_INVALID (lengths are patched and none are given), or (command + 1) << 32 |
 * status of the first kernel that failed. */
TW_API uint64_t tw_program_run(tw_program *program, const uint64_t *addresses, const uint64_t *lengths);
/* `tw_program_run` for a list without patched lengths: the prepared call. */
TW_API uint64_t tw_program_call(tw_program *program, const uint64_t *addresses);

tw_program *tw_program_retain(tw_program *program);
const char *tw_program_command_name(const tw_program *program, uint32_t command);
uint32_t tw_program_slot_count(const tw_program *program);
uint32_t tw_program_segment_count(const tw_program *program);
uint32_t tw_program_segment_tiles(const tw_program *program, uint32_t segment);
uint64_t tw_program_run_tiles(const tw_program *program, const tw_context *context, uint32_t segment,
                              uint32_t first, uint32_t count, uint32_t worker);

/* ---- queue.c ------------------------------------------------------------------------------------------- */

typedef struct tw_queue tw_queue;

/* Runs the host work `token`; returns 0, or the token of the failure with `text` filled in. */
typedef uint64_t (*tw_host_work)(uint64_t token, char *text, uint64_t text_size);

typedef struct tw_wait {
  tw_semaphore *semaphore;
  uint64_t value;
} tw_wait;

/* `threaded`: a thread of its own runs what is ready; else whoever makes it ready does. */
TW_API tw_queue *tw_queue_create(int threaded);
/* Before the first submission of host work. Apart from `create`, because a callback from ctypes may take a
 * page that is writable and executable, which a device without host work does not need. */
TW_API void tw_queue_set_host_work(tw_queue *queue, tw_host_work host_work);
/* Submits a program (or, with `program` NULL, host work; with both absent a barrier) under the number
 * `number`. */
TW_API int tw_queue_submit(tw_queue *queue, tw_program *program, const uint64_t *addresses,
                           const uint64_t *lengths, uint32_t slot_count, uint64_t host_token,
                           const tw_wait *waits, uint32_t wait_count, const tw_wait *signals,
                           uint32_t signal_count, uint64_t number);
/* Takes up to `capacity` numbers of submissions that have ended. */
TW_API uint32_t tw_queue_reap(tw_queue *queue, uint64_t *numbers, uint32_t capacity);
TW_API int tw_queue_wait_idle(tw_queue *queue, uint64_t timeout_ns);
TW_API void tw_queue_close(tw_queue *queue);
TW_API void tw_queue_release(tw_queue *queue);

void tw_submission_resolved(tw_submission *submission, tw_cause *cause);

TW_API uint32_t tw_library_version(void);
TW_API void tw_flush_instruction_cache(void *start, uint64_t size);

#endif /* THALWEG_LOCAL_H_ */
