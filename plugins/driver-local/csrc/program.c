/* Packed command lists (docs/reference/command-list.md): checked once, then replayed tile by tile. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "local.h"

#define PACKED_MAGIC 0x4C435754u /* "TWCL" */
#define PACKED_VERSION 1u
#define TRANSFER_TILE (256u * 1024u)
#define NO_NAME UINT32_MAX

typedef struct packed_header {
  uint32_t magic, version;
  uint32_t command_count, segment_count, patch_count, address_count, constant_count, slot_count;
  uint32_t name_bytes, data_bytes;
  uint32_t reserved[6];
} packed_header;

enum { OP_DISPATCH = 1, OP_FILL = 2, OP_COPY = 3 };

typedef struct packed_command {
  uint32_t opcode;
  uint32_t number;        /* in the recorded list */
  uint32_t tile_count;    /* units of work that may run at once: workgroups, or pieces of a transfer */
  uint32_t reserved;
  uint32_t first_address; /* dispatch: its bindings; fill: target; copy: source, target */
  uint32_t address_count;
  uint32_t first_constant;
  uint32_t constant_count;
  uint64_t payload;       /* dispatch: the kernel's address; else the length in bytes */
  uint32_t workgroup_count[3];
  uint32_t local_memory;
  uint32_t pattern;       /* fill: repeated to four bytes */
  uint32_t name;          /* offset in the names */
} packed_command;

typedef struct packed_segment {
  uint32_t first_command, command_count, tile_count, reserved;
} packed_segment;

enum { PATCH_ADDRESS = 1, PATCH_LENGTH = 2, PATCH_DATA = 3 };

typedef struct packed_patch {
  uint32_t kind, index, slot, reserved;
  uint64_t offset;
} packed_patch;

_Static_assert(sizeof(packed_header) == 64, "packed header");
_Static_assert(sizeof(packed_command) == 64, "packed command");
_Static_assert(sizeof(packed_segment) == 16, "packed segment");
_Static_assert(sizeof(packed_patch) == 24, "packed patch");
_Static_assert(sizeof(thalweg_dispatch_t) == 40, "kernel ABI");
_Static_assert(sizeof(thalweg_workgroup_t) == 32, "kernel ABI");

/* What differs between two replays that run at once: resolved addresses and lengths, and what points to
 * them. */
struct tw_context {
  uint64_t *addresses;
  uint64_t *lengths;            /* by command; of transfers */
  thalweg_dispatch_t *dispatch; /* by command */
};

struct tw_program {
  atomic_int references;
  tw_pool *pool;
  packed_header header;
  unsigned char *memory;
  packed_command *commands;
  packed_segment *segments;
  packed_patch *patches;
  uint64_t *addresses;
  uint32_t *constants;
  char *names;
  unsigned char *data;
  uint32_t dynamic_patches;        /* the first so many patches are of slots */
  bool patches_lengths;
  tw_context *shared;              /* when there is nothing to patch */
  _Atomic(tw_context *) idle;      /* one context kept for the next replay */
};

static uint64_t rounded(uint64_t size) { return (size + 7) & ~(uint64_t)7; }

/* Finds the sections, and whether they fit `size` exactly. */
static bool lay_out(tw_program *program, uint64_t size) {
  const packed_header *header = &program->header;
  uint64_t at = sizeof(packed_header);
  unsigned char *memory = program->memory;
  program->commands = (packed_command *)(void *)(memory + at);
  at += (uint64_t)header->command_count * sizeof(packed_command);
  program->segments = (packed_segment *)(void *)(memory + at);
  at += (uint64_t)header->segment_count * sizeof(packed_segment);
  program->patches = (packed_patch *)(void *)(memory + at);
  at += (uint64_t)header->patch_count * sizeof(packed_patch);
  program->addresses = (uint64_t *)(void *)(memory + at);
  at += (uint64_t)header->address_count * sizeof(uint64_t);
  program->constants = (uint32_t *)(void *)(memory + at);
  at += rounded((uint64_t)header->constant_count * sizeof(uint32_t));
  program->names = (char *)(memory + at);
  at += rounded(header->name_bytes);
  program->data = memory + at;
  at += header->data_bytes;
  return at == size;
}

static bool is_range(uint32_t first, uint32_t count, uint32_t limit) {
  return first <= limit && count <= limit - first;
}

static bool check_command(const tw_program *program, const packed_command *command) {
  const packed_header *header = &program->header;
  if (!is_range(command->first_address, command->address_count, header->address_count)) return false;
  if (!is_range(command->first_constant, command->constant_count, header->constant_count)) return false;
  if (command->name != NO_NAME && command->name >= header->name_bytes) return false;
  if (!command->tile_count) return false;
  switch (command->opcode) {
    case OP_DISPATCH: {
      const uint32_t *count = command->workgroup_count;
      uint64_t plane = (uint64_t)count[0] * count[1];
      return command->payload && plane <= INT32_MAX && plane * count[2] == command->tile_count;
    }
    case OP_FILL:
      return command->address_count == 1;
    case OP_COPY:
      return command->address_count == 2;
    default:
      return false;
  }
}

static bool check(tw_program *program) {
  const packed_header *header = &program->header;
  uint32_t next = 0;
  if (header->name_bytes && program->names[header->name_bytes - 1] != 0) return false;
  for (uint32_t i = 0; i < header->command_count; ++i) {
    if (!check_command(program, &program->commands[i])) return false;
  }
  for (uint32_t i = 0; i < header->segment_count; ++i) {
    const packed_segment *segment = &program->segments[i];
    uint64_t tiles = 0;
    if (segment->first_command != next) return false;
    if (!is_range(next, segment->command_count, header->command_count)) return false;
    for (uint32_t j = 0; j < segment->command_count; ++j) tiles += program->commands[next + j].tile_count;
    if (tiles != segment->tile_count || !tiles || tiles > INT32_MAX) return false;
    next += segment->command_count;
  }
  if (next != header->command_count) return false;
  for (uint32_t i = 0; i < header->patch_count; ++i) {
    const packed_patch *patch = &program->patches[i];
    bool of_slot = patch->kind == PATCH_ADDRESS || patch->kind == PATCH_LENGTH;
    if (of_slot != (i < program->dynamic_patches)) return false;
    if (of_slot && patch->slot >= header->slot_count) return false;
    uint32_t limit = patch->kind == PATCH_LENGTH ? header->command_count : header->address_count;
    if (patch->index >= limit) return false;
    if (patch->kind == PATCH_LENGTH && program->commands[patch->index].opcode == OP_DISPATCH) return false;
    if (patch->kind == PATCH_DATA && patch->offset > header->data_bytes) return false;
    if (!of_slot && patch->kind != PATCH_DATA) return false;
  }
  return true;
}

static void context_free(tw_context *context) { free(context); }

static tw_context *context_create(const tw_program *program) {
  const packed_header *header = &program->header;
  size_t address_bytes = (size_t)header->address_count * sizeof(uint64_t);
  size_t length_bytes = (size_t)header->command_count * sizeof(uint64_t);
  size_t dispatch_bytes = (size_t)header->command_count * sizeof(thalweg_dispatch_t);
  unsigned char *block = malloc(sizeof(tw_context) + address_bytes + length_bytes + dispatch_bytes);
  if (!block) return NULL;
  tw_context *context = (tw_context *)(void *)block;
  context->addresses = (uint64_t *)(void *)(block + sizeof(tw_context));
  context->lengths = context->addresses + header->address_count;
  context->dispatch = (thalweg_dispatch_t *)(void *)(context->lengths + header->command_count);
  memcpy(context->addresses, program->addresses, address_bytes);
  for (uint32_t i = 0; i < header->command_count; ++i) {
    const packed_command *command = &program->commands[i];
    thalweg_dispatch_t *dispatch = &context->dispatch[i];
    context->lengths[i] = command->payload;
    dispatch->bindings = (void *const *)(void *)(context->addresses + command->first_address);
    dispatch->constants = program->constants + command->first_constant;
    memcpy(dispatch->workgroup_count, command->workgroup_count, sizeof(dispatch->workgroup_count));
    dispatch->binding_count = command->address_count;
    dispatch->constant_count = command->constant_count;
    dispatch->reserved = 0;
  }
  return context;
}

tw_program *tw_program_create(tw_pool *pool, const void *packed, uint64_t size) {
  if (size < sizeof(packed_header)) return NULL;
  tw_program *program = calloc(1, sizeof(*program));
  if (!program) return NULL;
  atomic_init(&program->references, 1);
  atomic_init(&program->idle, NULL);
  memcpy(&program->header, packed, sizeof(program->header));
  program->pool = tw_pool_retain(pool);
  program->memory = malloc(size);
  if (program->memory) memcpy(program->memory, packed, size);
  bool known = program->header.magic == PACKED_MAGIC && program->header.version == PACKED_VERSION;
  if (!program->memory || !known || !lay_out(program, size)) {
    tw_program_release(program);
    return NULL;
  }
  for (uint32_t i = 0; i < program->header.patch_count; ++i) {
    program->dynamic_patches += program->patches[i].kind != PATCH_DATA;
    program->patches_lengths |= program->patches[i].kind == PATCH_LENGTH;
  }
  bool ok = check(program);
  for (uint32_t i = program->dynamic_patches; ok && i < program->header.patch_count; ++i) {
    const packed_patch *patch = &program->patches[i];
    program->addresses[patch->index] = (uint64_t)(uintptr_t)(program->data + patch->offset);
  }
  if (ok && !program->dynamic_patches) ok = (program->shared = context_create(program)) != NULL;
  if (!ok) {
    tw_program_release(program);
    return NULL;
  }
  return program;
}

tw_program *tw_program_retain(tw_program *program) {
  if (program) atomic_fetch_add_explicit(&program->references, 1, memory_order_relaxed);
  return program;
}

void tw_program_release(tw_program *program) {
  if (!program || atomic_fetch_sub_explicit(&program->references, 1, memory_order_acq_rel) != 1) return;
  context_free(program->shared);
  context_free(atomic_load(&program->idle));
  tw_pool_release(program->pool);
  free(program->memory);
  free(program);
}

const char *tw_program_command_name(const tw_program *program, uint32_t command) {
  for (uint32_t i = 0; i < program->header.command_count; ++i) {
    const packed_command *candidate = &program->commands[i];
    if (candidate->number == command && candidate->name != NO_NAME) return program->names + candidate->name;
  }
  return "?";
}

uint32_t tw_program_slot_count(const tw_program *program) { return program->header.slot_count; }

uint32_t tw_program_segment_count(const tw_program *program) { return program->header.segment_count; }

uint32_t tw_program_segment_tiles(const tw_program *program, uint32_t segment) {
  return program->segments[segment].tile_count;
}

/* ---- local memory of workgroups: one block for each thread, grown as needed ---------------------------- */

typedef struct local_block {
  uint64_t size;
  void *bytes;
} local_block;

static pthread_key_t local_key;
static pthread_once_t local_once = PTHREAD_ONCE_INIT;

static void free_local(void *value) {
  local_block *block = value;
  free(block->bytes);
  free(block);
}

static void create_local_key(void) { pthread_key_create(&local_key, free_local); }

static void *local_memory(uint64_t size) {
  pthread_once(&local_once, create_local_key);
  local_block *block = pthread_getspecific(local_key);
  if (!block) {
    block = calloc(1, sizeof(*block));
    if (!block || pthread_setspecific(local_key, block)) {
      free(block);
      return NULL;
    }
  }
  if (block->size < size) {
    uint64_t grown = (size + 4095) & ~(uint64_t)4095;
    free(block->bytes);
    block->bytes = aligned_alloc(64, grown);
    block->size = block->bytes ? grown : 0;
  }
  return block->bytes;
}

/* ---- tiles --------------------------------------------------------------------------------------------- */

static uint64_t run_workgroups(const packed_command *command, const thalweg_dispatch_t *dispatch,
                               uint32_t first, uint32_t count, uint32_t worker) {
  const uint32_t *extent = command->workgroup_count;
  thalweg_kernel_t kernel = (thalweg_kernel_t)(uintptr_t)command->payload;
  thalweg_workgroup_t workgroup;
  workgroup.worker = worker;
  workgroup.local_memory_size = command->local_memory;
  workgroup.local_memory = command->local_memory ? local_memory(command->local_memory) : NULL;
  if (command->local_memory && !workgroup.local_memory) return TW_NO_MEMORY;
  uint32_t row = first / extent[0];
  workgroup.id[0] = first % extent[0];
  workgroup.id[1] = row % extent[1];
  workgroup.id[2] = row / extent[1];
  for (uint32_t i = 0; i < count; ++i) {
    int32_t status = kernel(dispatch, &workgroup);
    if (status) return (uint64_t)(command->number + 1) << 32 | (uint32_t)status;
    if (++workgroup.id[0] == extent[0]) {
      workgroup.id[0] = 0;
      if (++workgroup.id[1] == extent[1]) {
        workgroup.id[1] = 0;
        ++workgroup.id[2];
      }
    }
  }
  return TW_OK;
}

static void fill(unsigned char *target, uint64_t size, uint32_t pattern) {
  unsigned char bytes[4];
  memcpy(bytes, &pattern, sizeof(bytes));
  if (bytes[0] == bytes[1] && bytes[0] == bytes[2] && bytes[0] == bytes[3]) {
    memset(target, bytes[0], size);
    return;
  }
  uint64_t whole = size & ~(uint64_t)3;
  for (uint64_t i = 0; i < whole; i += 4) memcpy(target + i, bytes, 4);
  memcpy(target + whole, bytes, size - whole);
}

/* A tile is TRANSFER_TILE bytes; the command's last one takes the rest, however long. */
static void run_transfer(const packed_command *command, const uint64_t *addresses, uint64_t length,
                         uint32_t first, uint32_t count) {
  uint64_t start = (uint64_t)first * TRANSFER_TILE, end = start + (uint64_t)count * TRANSFER_TILE;
  if (first + count == command->tile_count || end > length) end = length;
  if (start >= end) return;
  unsigned char *first_place = (unsigned char *)(uintptr_t)addresses[0] + start;
  if (command->opcode == OP_FILL) {
    fill(first_place, end - start, command->pattern);
  } else {
    memmove((unsigned char *)(uintptr_t)addresses[1] + start, first_place, end - start);
  }
}

uint64_t tw_program_run_tiles(const tw_program *program, const tw_context *context, uint32_t segment,
                              uint32_t first, uint32_t count, uint32_t worker) {
  uint32_t index = program->segments[segment].first_command;
  while (first >= program->commands[index].tile_count) first -= program->commands[index++].tile_count;
  for (; count; ++index, first = 0) {
    const packed_command *command = &program->commands[index];
    uint32_t here = command->tile_count - first < count ? command->tile_count - first : count;
    count -= here;
    if (command->opcode == OP_DISPATCH) {
      uint64_t error = run_workgroups(command, &context->dispatch[index], first, here, worker);
      if (error) return error;
    } else {
      const uint64_t *addresses = context->addresses + command->first_address;
      run_transfer(command, addresses, context->lengths[index], first, here);
    }
  }
  return TW_OK;
}

/* ---- replay -------------------------------------------------------------------------------------------- */

static tw_context *take_context(tw_program *program) {
  tw_context *context = atomic_exchange_explicit(&program->idle, NULL, memory_order_acquire);
  return context ? context : context_create(program);
}

static void give_context(tw_program *program, tw_context *context) {
  tw_context *expected = NULL;
  if (!atomic_compare_exchange_strong_explicit(&program->idle, &expected, context, memory_order_release,
                                               memory_order_relaxed)) {
    context_free(context);
  }
}

uint64_t tw_program_run(tw_program *program, const uint64_t *addresses, const uint64_t *lengths) {
  if (program->shared) return tw_pool_run(program->pool, program, program->shared);
  if (program->patches_lengths && !lengths) return TW_INVALID;
  tw_context *context = take_context(program);
  if (!context) return TW_NO_MEMORY;
  for (uint32_t i = 0; i < program->dynamic_patches; ++i) {
    const packed_patch *patch = &program->patches[i];
    if (patch->kind == PATCH_ADDRESS) {
      context->addresses[patch->index] = addresses[patch->slot] + patch->offset;
    } else {
      context->lengths[patch->index] = lengths[patch->slot] - patch->offset;
    }
  }
  uint64_t result = tw_pool_run(program->pool, program, context);
  give_context(program, context);
  return result;
}

uint64_t tw_program_call(tw_program *program, const uint64_t *addresses) {
  return tw_program_run(program, addresses, NULL);
}
