/* Forks, threads, time. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "local.h"

static atomic_uint fork_generation;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void in_child(void) { atomic_fetch_add(&fork_generation, 1); }

static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }

uint32_t tw_fork_generation(void) {
  pthread_once(&fork_once, watch_forks);
  return atomic_load_explicit(&fork_generation, memory_order_relaxed);
}

int tw_thread_start(void *(*function)(void *), void *argument, uint64_t *thread) {
  sigset_t all, before;
  pthread_t started;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int result = pthread_create(&started, NULL, function, argument);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (result) return TW_NO_MEMORY;
  *thread = (uint64_t)started;
  return TW_OK;
}

void tw_thread_join(uint64_t thread) { pthread_join((pthread_t)thread, NULL); }

void tw_thread_detach(uint64_t thread) { pthread_detach((pthread_t)thread); }

bool tw_thread_is_current(uint64_t thread) { return pthread_equal((pthread_t)thread, pthread_self()) != 0; }

uint64_t tw_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint32_t tw_library_version(void) { return TW_LIBRARY_VERSION; }

void tw_flush_instruction_cache(void *start, uint64_t size) {
  __builtin___clear_cache((char *)start, (char *)start + size);
}
