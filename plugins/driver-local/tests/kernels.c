/* Kernels for the tests, compiled by the tests themselves. */
#include "thalweg_kernel.h"

#define KERNEL int32_t

/* c = a + b; a workgroup is 16 elements; the count is constant 0. */
KERNEL add(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup) {
  const float *a = dispatch->bindings[0], *b = dispatch->bindings[1];
  float *c = dispatch->bindings[2];
  uint32_t start = workgroup->id[0] * 16, end = start + 16;
  if (end > dispatch->constants[0]) end = dispatch->constants[0];
  for (uint32_t i = start; i < end; ++i) c[i] = a[i] + b[i];
  return THALWEG_KERNEL_OK;
}

/* Writes what a workgroup is told: 8 words for each, in the order x, y, z. */
KERNEL describe(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup) {
  const uint32_t *count = dispatch->workgroup_count, *id = workgroup->id;
  uint32_t *out = (uint32_t *)dispatch->bindings[0] + 8 * (id[0] + count[0] * (id[1] + count[1] * id[2]));
  for (int i = 0; i < 3; ++i) out[i] = id[i];
  for (int i = 0; i < 3; ++i) out[3 + i] = count[i];
  out[6] = dispatch->binding_count * 1000 + dispatch->constant_count * 10 + dispatch->reserved;
  out[7] = dispatch->constants[1];
  return THALWEG_KERNEL_OK;
}

/* Fails with status constant 0 in the workgroup whose x is constant 1. */
KERNEL fail(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup) {
  return workgroup->id[0] == dispatch->constants[1] ? (int32_t)dispatch->constants[0] : THALWEG_KERNEL_OK;
}

/* Fills its local memory and sums it up; reports memory that is not aligned or too small as bad data. */
KERNEL use_local_memory(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup) {
  uint32_t count = dispatch->constants[0], sum = 0;
  uint32_t *local = workgroup->local_memory;
  if ((uintptr_t)local % 64 || workgroup->local_memory_size < count * 4u) return THALWEG_KERNEL_DATA_ERROR;
  for (uint32_t i = 0; i < count; ++i) local[i] = i * (workgroup->id[0] + 1);
  for (uint32_t i = 0; i < count; ++i) sum += local[i];
  ((uint32_t *)dispatch->bindings[0])[workgroup->id[0]] = sum;
  return THALWEG_KERNEL_OK;
}

/* Adds 1 to a word: wrong when two commands that a barrier parts overlap. */
KERNEL increment(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup) {
  volatile uint32_t *word = (uint32_t *)dispatch->bindings[0] + workgroup->id[0];
  *word = *word + 1;
  return THALWEG_KERNEL_OK;
}

static const uint32_t table_data[4] = {10, 20, 30, 40};
static const uint32_t *const table[1] = {table_data};

/* Reads a constant through a pointer in data, which the loader has to relocate. */
KERNEL read_table(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup) {
  const uint32_t *const *volatile pointer = table;
  ((uint32_t *)dispatch->bindings[0])[workgroup->id[0]] = pointer[0][workgroup->id[0] % 4];
  return THALWEG_KERNEL_OK;
}

/* Counts down from constant 0 to spend time. */
KERNEL spin(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup) {
  for (volatile uint32_t left = dispatch->constants[0]; left; --left) {
  }
  ((uint32_t *)dispatch->bindings[0])[workgroup->id[0]] = 1;
  return THALWEG_KERNEL_OK;
}

/* Waits until the word in binding 0 is 1; gives up, with bad data, after constant 0 looks. */
KERNEL wait_for_word(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup) {
  const volatile uint32_t *word = dispatch->bindings[0];
  (void)workgroup;
  for (uint32_t left = dispatch->constants[0]; left; --left) {
    if (*word) return THALWEG_KERNEL_OK;
  }
  return THALWEG_KERNEL_DATA_ERROR;
}

/* Counts down from a word of binding 0, then writes which worker it ran on to binding 1. */
KERNEL spin_uneven(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup) {
  const uint32_t *steps = dispatch->bindings[0];
  for (volatile uint32_t left = steps[workgroup->id[0]]; left; --left) {
  }
  ((uint32_t *)dispatch->bindings[1])[workgroup->id[0]] = workgroup->worker;
  return THALWEG_KERNEL_OK;
}

/* Counts itself in binding 0; the first workgroup waits before until constant 0 others have, or gives up,
 * with bad data, after constant 1 looks. */
KERNEL wait_for_others(const thalweg_dispatch_t *dispatch, const thalweg_workgroup_t *workgroup) {
  uint32_t *counter = dispatch->bindings[0];
  if (workgroup->id[0] == 0) {
    uint32_t left = dispatch->constants[1];
    while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < dispatch->constants[0]) {
      if (!--left) return THALWEG_KERNEL_DATA_ERROR;
    }
  }
  __atomic_fetch_add(counter, 1, __ATOMIC_ACQ_REL);
  return THALWEG_KERNEL_OK;
}
