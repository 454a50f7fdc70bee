/* The kernel C ABI, version 1: how a native kernel is called, by the runtime or by a program without one.
 *
 * A kernel runs one workgroup:
 *
 *     int32_t kernel(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup);
 *
 * It returns THALWEG_KERNEL_OK, or another value below; it never traps on data, calls nothing outside its executable,
 * keeps no state, and may run on any thread, on many at once. Bindings are aligned to their element size at least;
 * the transient arena and constants to 64 bytes. Local memory is aligned to 64 bytes, its content undefined.
 */
#ifndef THALWEG_KERNEL_H_
#define THALWEG_KERNEL_H_

#include <stdint.h>

#define THALWEG_KERNEL_ABI_VERSION 1

enum {
  THALWEG_KERNEL_OK = 0,
  THALWEG_KERNEL_INDEX_OUT_OF_RANGE = 1, /* a gather's or scatter's index is outside its operand */
  THALWEG_KERNEL_DATA_ERROR = 2,         /* any other value that the op's meaning forbids */
};

typedef struct thalweg_dispatch_t {
  void *const *bindings;           /* offset  0: binding_count addresses */
  const uint32_t *constants;       /* offset  8: constant_count push constants */
  uint32_t workgroup_count[3];     /* offset 16 */
  uint32_t binding_count;          /* offset 28 */
  uint32_t constant_count;         /* offset 32 */
  uint32_t reserved;               /* offset 36: 0 */
} thalweg_dispatch_t;              /* 40 bytes */

typedef struct thalweg_workgroup_t {
  uint32_t id[3];                  /* offset  0 */
  uint32_t worker;                 /* offset 12: which worker runs it, for statistics only */
  void *local_memory;              /* offset 16: at least the entry point's local_memory bytes */
  uint64_t local_memory_size;      /* offset 24 */
} thalweg_workgroup_t;             /* 32 bytes */

typedef int32_t (*thalweg_kernel_t)(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup);

#endif /* THALWEG_KERNEL_H_ */
