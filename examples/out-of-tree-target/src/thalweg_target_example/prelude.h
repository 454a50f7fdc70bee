/* What every kernel starts with: the kernel ABI, how a kernel reaches its arguments, and what C has no operator for. */
#include <math.h>
#include <stdint.h>

#include "thalweg_kernel.h"

typedef struct {
  void *const *bindings;      /* the operands, then the results */
  const uint32_t *dimensions; /* the push constants: the values of the dispatch's named dimensions */
  int32_t *status;
} arguments;

#define UNUSED __attribute__((unused))
#define HELPER static inline UNUSED

HELPER double larger(double a, double b) { return a != a || a > b ? a : b; }
HELPER double smaller(double a, double b) { return a != a || a < b ? a : b; }

HELPER int64_t largest(int64_t a, int64_t b) { return a > b ? a : b; }
HELPER int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Kernels never trap on data: a division by zero gives 0, and the least integer divided by -1 itself. */
HELPER int64_t divide(int64_t a, int64_t b) { return b == 0 ? 0 : b == -1 ? -a : a / b; }
HELPER int64_t remains(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
HELPER int64_t floor_divide(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

/* From float to integers of some bits: truncated, saturated; NaN gives 0. */
HELPER int64_t to_signed(double x, int bits) {
  const double limit = ldexp(1.0, bits - 1);
  if (x != x) return 0;
  if (x <= -limit) return -(int64_t)(UINT64_C(1) << (bits - 1));
  if (x >= limit) return (int64_t)((UINT64_C(1) << (bits - 1)) - 1);
  return (int64_t)x;
}

HELPER uint64_t to_unsigned(double x, int bits) {
  if (x != x || x <= 0) return 0;
  if (x >= ldexp(1.0, bits)) return UINT64_MAX >> (64 - bits);
  return (uint64_t)x;
}

/* An index of a gather: negative ones count from the end; one outside fails the kernel. */
HELPER int64_t checked_index(const arguments *a, int64_t index, int64_t extent) {
  if (index < -extent || index >= extent) {
    *a->status = THALWEG_KERNEL_INDEX_OUT_OF_RANGE;
    return 0;
  }
  return index < 0 ? index + extent : index;
}
