/* The worker pool: threads that help whoever replays a program.
 *
 * One replay at a time has the pool; a second one that runs meanwhile runs alone on its caller's thread.
 * The state of a replay is one word, the cursor: (generation, tiles left). Who takes tiles by
 * compare-and-swap holds their segment open, and may read the pool's plain fields until those tiles are
 * counted as finished. Who finishes a segment's last tile starts the next: segments of one tile it runs at
 * once itself, for a wider one it raises the generation. Everybody takes a share of what is left, large
 * first and small last (guided self-scheduling).
 */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "local.h"

#define SPIN_NS 30000u
#define SHARES 4u /* who takes tiles takes 1/SHARES of an equal part of what is left */

struct tw_pool {
  _Alignas(64) atomic_uint_fast64_t cursor; /* generation << 32 | tiles left */
  _Alignas(64) atomic_uint event;           /* counts changes that sleepers must see: a futex */
  atomic_uint sleepers;
  _Alignas(64) atomic_uint finished;        /* tiles of the current segment */
  atomic_uint_fast64_t error;               /* the first failure, 0 for none */
  atomic_bool running;                      /* a replay has the pool and has not ended */
  /* Written while no tile is held. */
  const tw_program *program;
  const tw_context *context;
  uint32_t segment;
  uint32_t tile_count;

  _Alignas(64) atomic_bool busy;            /* some caller has the pool */
  atomic_bool stopping;
  atomic_uint active;                       /* replays in progress, alone or with the pool */
  atomic_int references;
  uint32_t generation;                      /* of the process */
  uint32_t thread_count;                    /* workers, without the caller */
  uint32_t started;                         /* of them */
  uint64_t spin_ns;
  struct worker {
    tw_pool *pool;
    uint32_t number;
    uint64_t thread;
  } workers[];
};

static void pause_briefly(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ __volatile__("yield");
#endif
}

static void futex_wait(atomic_uint *word, uint32_t expected) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word, uint32_t count) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count < INT_MAX ? (int)count : INT_MAX, NULL, NULL, 0);
}

static void announce(tw_pool *pool, uint32_t wake_count) {
  atomic_fetch_add(&pool->event, 1);
  if (atomic_load(&pool->sleepers)) futex_wake(&pool->event, wake_count);
}

static void set_error(tw_pool *pool, uint64_t error) {
  uint_fast64_t none = 0;
  atomic_compare_exchange_strong(&pool->error, &none, error);
}

/* Runs or opens the segments from `segment` on. Called when no tile is held. `is_caller`: by the replay's
 * owner. */
static void advance(tw_pool *pool, uint32_t segment, uint32_t worker, bool is_caller) {
  const tw_program *program = pool->program;
  const tw_context *context = pool->context;
  uint32_t count = tw_program_segment_count(program);
  for (; segment < count && !atomic_load_explicit(&pool->error, memory_order_relaxed); ++segment) {
    uint32_t tiles = tw_program_segment_tiles(program, segment);
    if (tiles > 1) {
      uint64_t generation = (atomic_load_explicit(&pool->cursor, memory_order_relaxed) >> 32) + 1;
      pool->segment = segment;
      pool->tile_count = tiles;
      atomic_store_explicit(&pool->finished, 0, memory_order_relaxed);
      atomic_store_explicit(&pool->cursor, (generation & UINT32_MAX) << 32 | tiles, memory_order_release);
      announce(pool, tiles - 1);
      return;
    }
    uint64_t error = tw_program_run_tiles(program, context, segment, 0, 1, worker);
    if (error) set_error(pool, error);
  }
  atomic_store(&pool->running, false);
  if (!is_caller) announce(pool, INT_MAX);
}

/* Takes and runs tiles until none is left. Returns the generation it saw then. */
static uint32_t help(tw_pool *pool, uint32_t worker, bool is_caller) {
  uint_fast64_t cursor = atomic_load_explicit(&pool->cursor, memory_order_acquire);
  while ((uint32_t)cursor) {
    uint32_t left = (uint32_t)cursor, taken = left / (SHARES * (pool->thread_count + 1));
    if (!taken) taken = 1;
    if (!atomic_compare_exchange_weak_explicit(&pool->cursor, &cursor, cursor - taken, memory_order_acquire,
                                               memory_order_acquire)) {
      continue;
    }
    uint32_t segment = pool->segment, tiles = pool->tile_count;
    if (!atomic_load_explicit(&pool->error, memory_order_relaxed)) {
      uint32_t first = tiles - left;
      uint64_t error = tw_program_run_tiles(pool->program, pool->context, segment, first, taken, worker);
      if (error) set_error(pool, error);
    }
    if (atomic_fetch_add_explicit(&pool->finished, taken, memory_order_acq_rel) + taken == tiles) {
      advance(pool, segment + 1, worker, is_caller);
      if (is_caller && !atomic_load(&pool->running)) break;
    }
    cursor = atomic_load_explicit(&pool->cursor, memory_order_acquire);
  }
  return (uint32_t)(cursor >> 32);
}

static bool nothing_new(tw_pool *pool, uint32_t generation, bool is_caller) {
  if ((uint32_t)(atomic_load_explicit(&pool->cursor, memory_order_acquire) >> 32) != generation) return false;
  return is_caller ? atomic_load(&pool->running) : !atomic_load(&pool->stopping);
}

/* Waits for another generation, for the end of the replay (its caller) or of the pool (a worker). */
static void wait_for_news(tw_pool *pool, uint32_t generation, bool is_caller) {
  if (pool->spin_ns) {
    uint64_t deadline = tw_now() + pool->spin_ns;
    do {
      for (int i = 0; i < 32; ++i) {
        if (!nothing_new(pool, generation, is_caller)) return;
        pause_briefly();
      }
    } while (tw_now() < deadline);
  }
  atomic_fetch_add(&pool->sleepers, 1);
  uint32_t event = atomic_load(&pool->event);
  if (nothing_new(pool, generation, is_caller)) futex_wait(&pool->event, event);
  atomic_fetch_sub(&pool->sleepers, 1);
}

static void *work(void *argument) {
  struct worker *worker = argument;
  tw_pool *pool = worker->pool;
  while (!atomic_load(&pool->stopping)) {
    uint32_t generation = help(pool, worker->number, false);
    wait_for_news(pool, generation, false);
  }
  return NULL;
}

static uint64_t run_together(tw_pool *pool, const tw_program *program, const tw_context *context) {
  pool->program = program;
  pool->context = context;
  atomic_store_explicit(&pool->error, 0, memory_order_relaxed);
  atomic_store(&pool->running, true);
  advance(pool, 0, 0, true);
  while (atomic_load(&pool->running)) {
    uint32_t generation = help(pool, 0, true);
    if (atomic_load(&pool->running)) wait_for_news(pool, generation, true);
  }
  return atomic_load_explicit(&pool->error, memory_order_relaxed);
}

static uint64_t run_alone(const tw_program *program, const tw_context *context) {
  uint32_t count = tw_program_segment_count(program);
  for (uint32_t segment = 0; segment < count; ++segment) {
    uint32_t tiles = tw_program_segment_tiles(program, segment);
    uint64_t error = tw_program_run_tiles(program, context, segment, 0, tiles, 0);
    if (error) return error;
  }
  return TW_OK;
}

uint64_t tw_pool_run(tw_pool *pool, const tw_program *program, const tw_context *context) {
  if (pool->generation != tw_fork_generation()) return TW_CLOSED;
  atomic_fetch_add(&pool->active, 1);
  uint64_t result;
  if (atomic_load(&pool->stopping)) {
    result = TW_CLOSED;
  } else if (!pool->thread_count || atomic_exchange_explicit(&pool->busy, true, memory_order_acquire)) {
    result = run_alone(program, context);
  } else {
    result = run_together(pool, program, context);
    atomic_store_explicit(&pool->busy, false, memory_order_release);
  }
  atomic_fetch_sub(&pool->active, 1);
  return result;
}

tw_pool *tw_pool_create(uint32_t threads) {
  uint32_t count = threads ? threads - 1 : 0;
  size_t size = (sizeof(tw_pool) + count * sizeof(struct worker) + 63) / 64 * 64;
  tw_pool *pool = aligned_alloc(64, size);
  if (!pool) return NULL;
  for (size_t i = 0; i < size; ++i) ((unsigned char *)pool)[i] = 0;
  atomic_init(&pool->references, 1);
  pool->generation = tw_fork_generation();
  cpu_set_t processors;
  bool known = !sched_getaffinity(0, sizeof(processors), &processors);
  pool->spin_ns = known && (uint32_t)CPU_COUNT(&processors) >= threads ? SPIN_NS : 0;
  pool->thread_count = count; /* as the workers will see it */
  for (uint32_t i = 0; i < count; ++i) {
    struct worker *worker = &pool->workers[i];
    worker->pool = pool;
    worker->number = i + 1;
    if (tw_thread_start(work, worker, &worker->thread)) {
      tw_pool_close(pool);
      tw_pool_release(pool);
      return NULL;
    }
    ++pool->started;
  }
  return pool;
}

tw_pool *tw_pool_retain(tw_pool *pool) {
  atomic_fetch_add_explicit(&pool->references, 1, memory_order_relaxed);
  return pool;
}

/* Replays that have begun end; later ones are refused. */
void tw_pool_close(tw_pool *pool) {
  if (pool->generation != tw_fork_generation() || atomic_exchange(&pool->stopping, true)) return;
  while (atomic_load(&pool->active)) sched_yield();
  atomic_fetch_add(&pool->event, 1);
  futex_wake(&pool->event, INT_MAX);
  for (uint32_t i = 0; i < pool->started; ++i) tw_thread_join(pool->workers[i].thread);
}

void tw_pool_release(tw_pool *pool) {
  if (atomic_fetch_sub_explicit(&pool->references, 1, memory_order_acq_rel) != 1) return;
  tw_pool_close(pool);
  free(pool);
}
