/* Why something failed: immutable, reference-counted, passed along from semaphore to semaphore. */
#include <stdio.h>
#include <stdlib.h>

#include "local.h"

tw_cause *tw_cause_create(uint64_t token, uint32_t command, int32_t status, const char *text) {
  tw_cause *cause = malloc(sizeof(*cause));
  if (!cause) abort(); /* a failure that cannot be told must not pass for success */
  atomic_init(&cause->references, 1);
  cause->token = token;
  cause->command = command;
  cause->status = status;
  snprintf(cause->text, sizeof(cause->text), "%s", text);
  return cause;
}

tw_cause *tw_cause_retain(tw_cause *cause) {
  if (cause) atomic_fetch_add_explicit(&cause->references, 1, memory_order_relaxed);
  return cause;
}

void tw_cause_release(tw_cause *cause) {
  if (cause && atomic_fetch_sub_explicit(&cause->references, 1, memory_order_acq_rel) == 1) free(cause);
}
