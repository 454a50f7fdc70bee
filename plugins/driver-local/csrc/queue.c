/* Queues: submissions that start when their waits are reached, and signal or fail what they promised. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "local.h"

struct tw_submission {
  tw_submission *next_ready;
  tw_submission *previous, *next; /* among the unfinished */
  tw_queue *queue;                /* holds a reference: a wait may be resolved after the queue was given up */
  tw_program *program;
  uint64_t host_token;
  uint64_t number;
  uint32_t pending;               /* timepoints left, and one while it is being submitted */
  bool queued, finished;
  tw_cause *cause;
  uint32_t wait_count, signal_count;
  tw_wait *waits, *signals;
  uint64_t *addresses, *lengths;
  uint64_t storage[];
};

struct tw_queue {
  atomic_int references;
  uint32_t generation; /* of the process */
  tw_host_work host_work;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  tw_submission *first_ready, **last_ready;
  tw_submission *unfinished;
  bool running, closed, stopping, threaded;
  pthread_t runner; /* who runs, while `running` */
  uint64_t thread;
  uint64_t *ended;
  uint32_t ended_count, ended_capacity;
};

static bool is_foreign(const tw_queue *queue) { return queue->generation != tw_fork_generation(); }

static void free_submission(tw_submission *submission) {
  for (uint32_t i = 0; i < submission->wait_count; ++i) tw_semaphore_release(submission->waits[i].semaphore);
  for (uint32_t i = 0; i < submission->signal_count; ++i) {
    tw_semaphore_release(submission->signals[i].semaphore);
  }
  tw_program_release(submission->program);
  tw_cause_release(submission->cause);
  tw_queue_release(submission->queue);
  free(submission);
}

static void remove_timepoints(tw_submission *submission) {
  uint32_t removed = 0;
  for (uint32_t i = 0; i < submission->wait_count; ++i) {
    removed += tw_semaphore_remove_timepoints(submission->waits[i].semaphore, submission);
  }
  pthread_mutex_lock(&submission->queue->lock);
  submission->pending -= removed;
  pthread_mutex_unlock(&submission->queue->lock);
}

/* Signals, or fails, what the submission promised, and forgets it. No lock is held. */
static void finish(tw_submission *submission, tw_cause *cause) {
  tw_queue *queue = submission->queue;
  for (uint32_t i = 0; i < submission->signal_count; ++i) {
    tw_semaphore *semaphore = submission->signals[i].semaphore;
    uint64_t value = submission->signals[i].value, current = 0;
    if (cause) {
      tw_semaphore_fail_with(semaphore, cause);
    } else if (tw_semaphore_signal(semaphore, value) == TW_INVALID) {
      char text[128];
      tw_semaphore_query(semaphore, &current);
      snprintf(text, sizeof(text), "semaphore signaled to %llu by a queue but it is at %llu already",
               (unsigned long long)value, (unsigned long long)current);
      tw_semaphore_fail(semaphore, 0, text);
    }
  }
  pthread_mutex_lock(&queue->lock);
  if (submission->previous) submission->previous->next = submission->next;
  if (submission->next) submission->next->previous = submission->previous;
  if (queue->unfinished == submission) queue->unfinished = submission->next;
  if (queue->ended_count == queue->ended_capacity) {
    uint32_t capacity = queue->ended_capacity ? queue->ended_capacity * 2 : 64;
    uint64_t *grown = realloc(queue->ended, capacity * sizeof(*grown));
    if (!grown) abort();
    queue->ended = grown;
    queue->ended_capacity = capacity;
  }
  queue->ended[queue->ended_count++] = submission->number;
  pthread_cond_broadcast(&queue->changed);
  pthread_mutex_unlock(&queue->lock);
  /* Of a submission that failed early some waits may be open; one that is being resolved right now frees
   * it. */
  pthread_mutex_lock(&queue->lock);
  submission->finished = true;
  ++submission->pending;
  pthread_mutex_unlock(&queue->lock);
  if (submission->cause) remove_timepoints(submission);
  pthread_mutex_lock(&queue->lock);
  --submission->pending;
  bool last = submission->pending == 0;
  pthread_mutex_unlock(&queue->lock);
  if (last) free_submission(submission);
}

static tw_cause *execute(tw_submission *submission) {
  if (submission->cause) return tw_cause_retain(submission->cause);
  if (submission->program) {
    uint64_t result = tw_program_run(submission->program, submission->addresses, submission->lengths);
    if (!result) return NULL;
    uint32_t command = (uint32_t)(result >> 32);
    const char *refusal = result == TW_NO_MEMORY ? "no memory to run" : "the device is closed";
    if (!command) return tw_cause_create(0, 0, 0, refusal);
    return tw_cause_create(0, command - 1, (int32_t)(uint32_t)result,
                           tw_program_command_name(submission->program, command - 1));
  }
  if (submission->host_token) {
    char text[TW_CAUSE_TEXT] = "host work failed";
    uint64_t token = submission->queue->host_work(submission->host_token, text, sizeof(text));
    if (token) return tw_cause_create(token, 0, 0, text);
  }
  return NULL;
}

/* Takes the next ready submission and marks the queue as running. The lock is held. */
static tw_submission *take_ready(tw_queue *queue) {
  tw_submission *submission = queue->first_ready;
  queue->first_ready = submission->next_ready;
  if (!queue->first_ready) queue->last_ready = &queue->first_ready;
  queue->running = true;
  queue->runner = pthread_self();
  return submission;
}

static void run_one(tw_queue *queue, tw_submission *submission) {
  tw_cause *cause = execute(submission);
  finish(submission, cause);
  tw_cause_release(cause);
  pthread_mutex_lock(&queue->lock);
  queue->running = false;
  pthread_cond_broadcast(&queue->changed);
  pthread_mutex_unlock(&queue->lock);
}

/* Runs what is ready, unless another thread, or an outer frame of this one, is at it. */
static void drain(tw_queue *queue) {
  for (;;) {
    pthread_mutex_lock(&queue->lock);
    tw_submission *submission = queue->running || !queue->first_ready ? NULL : take_ready(queue);
    pthread_mutex_unlock(&queue->lock);
    if (!submission) return;
    run_one(queue, submission);
  }
}

static void *serve(void *argument) {
  tw_queue *queue = argument;
  for (;;) {
    pthread_mutex_lock(&queue->lock);
    while (!queue->first_ready && !queue->stopping) pthread_cond_wait(&queue->changed, &queue->lock);
    tw_submission *submission = queue->first_ready ? take_ready(queue) : NULL;
    pthread_mutex_unlock(&queue->lock);
    if (!submission) break;
    run_one(queue, submission);
  }
  tw_queue_release(queue);
  return NULL;
}

/* Puts a submission among the ready. The lock is held. */
static void make_ready(tw_queue *queue, tw_submission *submission) {
  submission->queued = true;
  submission->next_ready = NULL;
  *queue->last_ready = submission;
  queue->last_ready = &submission->next_ready;
  pthread_cond_broadcast(&queue->changed);
}

/* One wait is reached, or failed with `cause`; the first failure does not wait for the others. */
void tw_submission_resolved(tw_submission *submission, tw_cause *cause) {
  tw_queue *queue = submission->queue;
  pthread_mutex_lock(&queue->lock);
  atomic_fetch_add_explicit(&queue->references, 1, memory_order_relaxed);
  submission->pending -= 1;
  bool orphan = submission->finished && submission->pending == 0;
  bool ready = !submission->queued && (submission->pending == 0 || cause);
  if (ready) {
    submission->cause = tw_cause_retain(cause);
    make_ready(queue, submission);
  }
  pthread_mutex_unlock(&queue->lock);
  if (orphan) free_submission(submission);
  if (ready && !queue->threaded) drain(queue);
  tw_queue_release(queue);
}

tw_queue *tw_queue_create(int threaded) {
  tw_queue *queue = calloc(1, sizeof(*queue));
  if (!queue) return NULL;
  atomic_init(&queue->references, 1);
  queue->generation = tw_fork_generation();
  queue->last_ready = &queue->first_ready;
  queue->threaded = threaded != 0;
  pthread_mutex_init(&queue->lock, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&queue->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  if (threaded) {
    atomic_fetch_add(&queue->references, 1); /* the thread's */
    if (tw_thread_start(serve, queue, &queue->thread)) {
      free(queue);
      return NULL;
    }
  }
  return queue;
}

void tw_queue_set_host_work(tw_queue *queue, tw_host_work host_work) {
  if (is_foreign(queue)) return;
  pthread_mutex_lock(&queue->lock);
  queue->host_work = host_work;
  pthread_mutex_unlock(&queue->lock);
}

static tw_submission *create_submission(tw_queue *queue, tw_program *program, const uint64_t *addresses,
                                        const uint64_t *lengths, uint32_t slot_count, const tw_wait *waits,
                                        uint32_t wait_count, const tw_wait *signals, uint32_t signal_count) {
  uint64_t words = 2 * ((uint64_t)slot_count + wait_count + signal_count);
  tw_submission *submission = calloc(1, sizeof(*submission) + words * sizeof(uint64_t));
  if (!submission) return NULL;
  submission->queue = queue;
  atomic_fetch_add_explicit(&queue->references, 1, memory_order_relaxed);
  submission->program = tw_program_retain(program);
  submission->addresses = submission->storage;
  submission->lengths = submission->storage + slot_count;
  submission->waits = (tw_wait *)(void *)(submission->lengths + slot_count);
  submission->signals = submission->waits + wait_count;
  submission->wait_count = wait_count;
  submission->signal_count = signal_count;
  submission->pending = 1;
  for (uint32_t i = 0; i < slot_count; ++i) {
    submission->addresses[i] = addresses[i];
    submission->lengths[i] = lengths[i];
  }
  for (uint32_t i = 0; i < wait_count; ++i) {
    submission->waits[i] = waits[i];
    tw_semaphore_retain(waits[i].semaphore);
  }
  for (uint32_t i = 0; i < signal_count; ++i) {
    submission->signals[i] = signals[i];
    tw_semaphore_retain(signals[i].semaphore);
  }
  return submission;
}

int tw_queue_submit(tw_queue *queue, tw_program *program, const uint64_t *addresses, const uint64_t *lengths,
                    uint32_t slot_count, uint64_t host_token, const tw_wait *waits, uint32_t wait_count,
                    const tw_wait *signals, uint32_t signal_count, uint64_t number) {
  if (is_foreign(queue)) return TW_CLOSED;
  if (program && tw_program_slot_count(program) > slot_count) return TW_INVALID;
  if (host_token && !queue->host_work) return TW_INVALID;
  tw_submission *submission = create_submission(queue, program, addresses, lengths, slot_count, waits,
                                                wait_count, signals, signal_count);
  if (!submission) return TW_NO_MEMORY;
  submission->host_token = host_token;
  submission->number = number;
  submission->pending += wait_count;
  pthread_mutex_lock(&queue->lock);
  bool closed = queue->closed;
  if (!closed) {
    submission->next = queue->unfinished;
    if (queue->unfinished) queue->unfinished->previous = submission;
    queue->unfinished = submission;
  }
  pthread_mutex_unlock(&queue->lock);
  if (closed) {
    free_submission(submission);
    return TW_CLOSED;
  }
  for (uint32_t i = 0; i < wait_count; ++i) {
    tw_cause *cause;
    /* `pending` holds one for this loop, so the submission outlives it whatever its waits do meanwhile. */
    if (!tw_semaphore_add_timepoint(waits[i].semaphore, waits[i].value, submission, &cause)) {
      tw_submission_resolved(submission, cause);
      tw_cause_release(cause);
    }
  }
  pthread_mutex_lock(&queue->lock);
  bool finished = submission->finished;
  pthread_mutex_unlock(&queue->lock);
  if (finished) remove_timepoints(submission); /* those added after it had failed */
  tw_submission_resolved(submission, NULL);
  return TW_OK;
}

uint32_t tw_queue_reap(tw_queue *queue, uint64_t *numbers, uint32_t capacity) {
  if (is_foreign(queue)) return 0;
  pthread_mutex_lock(&queue->lock);
  uint32_t count = queue->ended_count < capacity ? queue->ended_count : capacity;
  queue->ended_count -= count;
  for (uint32_t i = 0; i < count; ++i) numbers[i] = queue->ended[queue->ended_count + i];
  pthread_mutex_unlock(&queue->lock);
  return count;
}

int tw_queue_wait_idle(tw_queue *queue, uint64_t timeout_ns) {
  if (is_foreign(queue)) return TW_CLOSED;
  uint64_t deadline = tw_now() + timeout_ns;
  struct timespec until = {(time_t)(deadline / 1000000000u), (long)(deadline % 1000000000u)};
  pthread_mutex_lock(&queue->lock);
  if (queue->running && pthread_equal(queue->runner, pthread_self())) {
    pthread_mutex_unlock(&queue->lock);
    return TW_INVALID; /* host work that waits for itself */
  }
  while ((queue->unfinished || queue->running) && tw_now() < deadline) {
    pthread_cond_timedwait(&queue->changed, &queue->lock, &until);
  }
  int result = queue->unfinished || queue->running ? TW_TIMEOUT : TW_OK;
  pthread_mutex_unlock(&queue->lock);
  return result;
}

/* What is ready or running ends; what still waits fails; the thread ends. From inside, by host work of this
 * queue, what is ready fails too: `host_work` may not outlive this call. */
void tw_queue_close(tw_queue *queue) {
  if (is_foreign(queue)) return;
  tw_cause *cause = tw_cause_create(0, 0, 0, "the device was closed while this work was waiting");
  pthread_mutex_lock(&queue->lock);
  if (queue->closed) {
    pthread_mutex_unlock(&queue->lock);
    tw_cause_release(cause);
    return;
  }
  queue->closed = true;
  bool from_inside = queue->running && pthread_equal(queue->runner, pthread_self());
  while (!from_inside && (queue->running || queue->first_ready)) {
    pthread_cond_wait(&queue->changed, &queue->lock);
  }
  for (tw_submission *ready = queue->first_ready; ready; ready = ready->next_ready) {
    if (!ready->cause) ready->cause = tw_cause_retain(cause);
  }
  for (tw_submission *stranded = queue->unfinished; stranded; stranded = stranded->next) {
    if (stranded->queued) continue;
    stranded->cause = tw_cause_retain(cause);
    make_ready(queue, stranded);
  }
  queue->stopping = true;
  pthread_cond_broadcast(&queue->changed);
  pthread_mutex_unlock(&queue->lock);
  tw_cause_release(cause);
  if (!queue->threaded) {
    drain(queue);
  } else if (tw_thread_is_current(queue->thread)) {
    tw_thread_detach(queue->thread);
  } else {
    tw_thread_join(queue->thread);
  }
}

void tw_queue_release(tw_queue *queue) {
  if (atomic_fetch_sub_explicit(&queue->references, 1, memory_order_acq_rel) != 1) return;
  if (!is_foreign(queue)) { /* in a forked child, threads of the parent may seem to wait here for ever */
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
  }
  free(queue->ended);
  free(queue);
}
