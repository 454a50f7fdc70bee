/* Timeline semaphores: a value, a sticky failure, host waiters, and the submissions that wait in queues. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "local.h"

typedef struct timepoint {
  struct timepoint *next;
  tw_submission *submission;
  uint64_t value;
} timepoint;

struct tw_semaphore {
  atomic_int references;
  uint32_t generation; /* of the process */
  pthread_mutex_t lock;
  pthread_cond_t changed;
  uint64_t value;
  tw_cause *cause;
  timepoint *timepoints;
};

static bool is_foreign(const tw_semaphore *semaphore) {
  return semaphore->generation != tw_fork_generation();
}

tw_semaphore *tw_semaphore_create(uint64_t initial_value) {
  tw_semaphore *semaphore = calloc(1, sizeof(*semaphore));
  if (!semaphore) return NULL;
  atomic_init(&semaphore->references, 1);
  semaphore->generation = tw_fork_generation();
  pthread_mutex_init(&semaphore->lock, NULL);
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(&semaphore->changed, &attributes);
  pthread_condattr_destroy(&attributes);
  semaphore->value = initial_value;
  return semaphore;
}

tw_semaphore *tw_semaphore_retain(tw_semaphore *semaphore) {
  atomic_fetch_add_explicit(&semaphore->references, 1, memory_order_relaxed);
  return semaphore;
}

/* A submission that waits holds a reference, so no timepoint is left when the last one goes. */
void tw_semaphore_release(tw_semaphore *semaphore) {
  if (atomic_fetch_sub_explicit(&semaphore->references, 1, memory_order_acq_rel) != 1) return;
  tw_cause_release(semaphore->cause);
  if (!is_foreign(semaphore)) {
    pthread_cond_destroy(&semaphore->changed);
    pthread_mutex_destroy(&semaphore->lock);
  }
  free(semaphore);
}

int tw_semaphore_query(tw_semaphore *semaphore, uint64_t *value) {
  if (is_foreign(semaphore)) return TW_CLOSED;
  pthread_mutex_lock(&semaphore->lock);
  *value = semaphore->value;
  int result = semaphore->cause ? TW_FAILED : TW_OK;
  pthread_mutex_unlock(&semaphore->lock);
  return result;
}

/* Takes off the timepoints that are reached (all, on failure). The lock is held. */
static timepoint *take_resolved(tw_semaphore *semaphore) {
  timepoint *resolved = NULL, **last = &resolved, **link = &semaphore->timepoints;
  while (*link) {
    timepoint *point = *link;
    if (semaphore->cause || point->value <= semaphore->value) {
      *link = point->next;
      point->next = NULL;
      *last = point;
      last = &point->next;
    } else {
      link = &point->next;
    }
  }
  return resolved;
}

static void resolve(timepoint *points, tw_cause *cause) {
  while (points) {
    timepoint *point = points;
    points = point->next;
    tw_submission_resolved(point->submission, cause);
    free(point);
  }
}

int tw_semaphore_signal(tw_semaphore *semaphore, uint64_t value) {
  if (is_foreign(semaphore)) return TW_CLOSED;
  pthread_mutex_lock(&semaphore->lock);
  if (semaphore->cause || value <= semaphore->value) {
    int result = semaphore->cause ? TW_FAILED : TW_INVALID;
    pthread_mutex_unlock(&semaphore->lock);
    return result;
  }
  semaphore->value = value;
  timepoint *reached = take_resolved(semaphore);
  pthread_cond_broadcast(&semaphore->changed);
  pthread_mutex_unlock(&semaphore->lock);
  resolve(reached, NULL);
  return TW_OK;
}

void tw_semaphore_fail_with(tw_semaphore *semaphore, tw_cause *cause) {
  pthread_mutex_lock(&semaphore->lock);
  if (semaphore->cause) {
    pthread_mutex_unlock(&semaphore->lock);
    return;
  }
  semaphore->cause = tw_cause_retain(cause);
  timepoint *failed = take_resolved(semaphore);
  pthread_cond_broadcast(&semaphore->changed);
  pthread_mutex_unlock(&semaphore->lock);
  resolve(failed, cause);
}

int tw_semaphore_fail(tw_semaphore *semaphore, uint64_t token, const char *text) {
  if (is_foreign(semaphore)) return TW_CLOSED;
  tw_cause *cause = tw_cause_create(token, 0, 0, text);
  tw_semaphore_fail_with(semaphore, cause);
  tw_cause_release(cause);
  return TW_OK;
}

int tw_semaphore_wait(tw_semaphore *semaphore, uint64_t value, uint64_t timeout_ns) {
  if (is_foreign(semaphore)) return TW_CLOSED;
  uint64_t deadline = tw_now() + timeout_ns;
  struct timespec until = {(time_t)(deadline / 1000000000u), (long)(deadline % 1000000000u)};
  int result;
  pthread_mutex_lock(&semaphore->lock);
  for (;;) {
    if (semaphore->cause) {
      result = TW_FAILED;
      break;
    }
    if (semaphore->value >= value) {
      result = TW_OK;
      break;
    }
    if (tw_now() >= deadline) {
      result = TW_TIMEOUT;
      break;
    }
    pthread_cond_timedwait(&semaphore->changed, &semaphore->lock, &until);
  }
  pthread_mutex_unlock(&semaphore->lock);
  return result;
}

int tw_semaphore_cause(tw_semaphore *semaphore, tw_cause_view *view) {
  if (is_foreign(semaphore)) return TW_CLOSED;
  pthread_mutex_lock(&semaphore->lock);
  const tw_cause *cause = semaphore->cause;
  if (cause) {
    view->token = cause->token;
    view->command = cause->command;
    view->status = cause->status;
    memcpy(view->text, cause->text, sizeof(view->text));
  }
  pthread_mutex_unlock(&semaphore->lock);
  return cause ? TW_FAILED : TW_OK;
}

bool tw_semaphore_add_timepoint(tw_semaphore *semaphore, uint64_t value, tw_submission *submission,
                                tw_cause **cause) {
  timepoint *point = malloc(sizeof(*point));
  *cause = NULL;
  if (!point) {
    *cause = tw_cause_create(0, 0, 0, "no memory for a wait");
    return false;
  }
  point->next = NULL;
  point->submission = submission;
  point->value = value;
  pthread_mutex_lock(&semaphore->lock);
  bool resolved = semaphore->cause || semaphore->value >= value;
  if (resolved) {
    *cause = tw_cause_retain(semaphore->cause);
  } else {
    timepoint **end = &semaphore->timepoints;
    while (*end) end = &(*end)->next;
    *end = point;
  }
  pthread_mutex_unlock(&semaphore->lock);
  if (resolved) free(point);
  return !resolved;
}

uint32_t tw_semaphore_remove_timepoints(tw_semaphore *semaphore, tw_submission *submission) {
  uint32_t count = 0;
  pthread_mutex_lock(&semaphore->lock);
  for (timepoint **link = &semaphore->timepoints; *link;) {
    timepoint *point = *link;
    if (point->submission == submission) {
      *link = point->next;
      free(point);
      ++count;
    } else {
      link = &point->next;
    }
  }
  pthread_mutex_unlock(&semaphore->lock);
  return count;
}
