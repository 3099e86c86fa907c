// Communication patterns of MPI programs, by name: `patterns allreduce ring` runs both in turn.
#include <string.h>

#include "check.h"

// The sum and the maximum over all ranks, of one number and of many.
static void allreduce(void) {
  enum { kCount = 4096 };
  const long expected = (long)world_size * (world_size + 1) / 2;

  long mine = world_rank + 1;
  long sum = 0;
  MPI_Allreduce(&mine, &sum, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
  require(sum == expected, "sum %ld, expected %ld", sum, expected);

  long maximum = 0;
  MPI_Allreduce(&mine, &maximum, 1, MPI_LONG, MPI_MAX, MPI_COMM_WORLD);
  require(maximum == world_size, "maximum %ld, expected %d", maximum, world_size);

  static long values[kCount];
  static long sums[kCount];
  for (int i = 0; i < kCount; ++i) values[i] = mine * i;
  MPI_Allreduce(values, sums, kCount, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
  for (int i = 0; i < kCount; ++i) {
    require(sums[i] == expected * i, "sums[%d] is %ld, expected %ld", i, sums[i], expected * i);
  }
}

// A token goes round the ring, and every rank adds its number. It is longer than the limit of eager sends.
static void ring(void) {
  enum { kCount = 1 << 16 };
  static long token[kCount];
  const int next = (world_rank + 1) % world_size;
  const int previous = (world_rank + world_size - 1) % world_size;
  if (world_rank == 0) {
    for (int i = 0; i < kCount; ++i) token[i] = i;
    MPI_Request sent;
    static long received[kCount];
    MPI_Isend(token, kCount, MPI_LONG, next, 7, MPI_COMM_WORLD, &sent);
    MPI_Status status;
    MPI_Recv(received, kCount, MPI_LONG, previous, 7, MPI_COMM_WORLD, &status);
    MPI_Wait(&sent, MPI_STATUS_IGNORE);
    require(status.MPI_SOURCE == previous, "token came from %d", status.MPI_SOURCE);
    const long added = (long)world_size * (world_size - 1) / 2;
    for (int i = 0; i < kCount; ++i) require(received[i] == i + added, "token[%d] is %ld", i, received[i]);
  } else {
    MPI_Recv(token, kCount, MPI_LONG, previous, 7, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    for (int i = 0; i < kCount; ++i) token[i] += world_rank;
    MPI_Send(token, kCount, MPI_LONG, next, 7, MPI_COMM_WORLD);
  }
}

// One-sided: between two fences, every rank puts its number into its slot of every other rank's window.
static void onesided(void) {
  // The program allocates the memory: MPICH 4.0.2 loses puts to a window of MPI_Win_allocate whose size is
  // not a multiple of 16 bytes.
  const size_t bytes = (size_t)world_size * sizeof(int);
  int* slots = malloc(bytes);
  for (int i = 0; i < world_size; ++i) slots[i] = -1;
  MPI_Win window;
  MPI_Win_create(slots, (MPI_Aint)bytes, sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &window);
  const int mine = 1000 + world_rank;

  MPI_Win_fence(0, window);
  for (int target = 0; target < world_size; ++target) {
    MPI_Put(&mine, 1, MPI_INT, target, world_rank, 1, MPI_INT, window);
  }
  MPI_Win_fence(0, window);

  for (int i = 0; i < world_size; ++i) require(slots[i] == 1000 + i, "slot %d is %d", i, slots[i]);
  MPI_Win_free(&window);
  free(slots);
}

// All ranks are on one node. The shared-memory communicator has every rank in world order, and each rank
// reads the memory of the previous rank through a plain pointer.
static void shared(void) {
  MPI_Comm node;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
  int rank = -1;
  int size = -1;
  MPI_Comm_rank(node, &rank);
  MPI_Comm_size(node, &size);
  require(size == world_size, "the shared communicator has %d of %d ranks", size, world_size);
  require(rank == world_rank, "rank %d in the shared communicator", rank);

  int* mine = NULL;
  MPI_Win window;
  MPI_Win_allocate_shared(sizeof(int), sizeof(int), MPI_INFO_NULL, node, &mine, &window);
  MPI_Win_lock_all(MPI_MODE_NOCHECK, window);
  *mine = 5000 + rank;
  MPI_Win_sync(window);
  MPI_Barrier(node);
  MPI_Win_sync(window);
  const int next = (rank + 1) % size;
  MPI_Aint bytes = 0;
  int unit = 0;
  int* theirs = NULL;
  MPI_Win_shared_query(window, next, &bytes, &unit, &theirs);
  require(*theirs == 5000 + next, "the memory of rank %d holds %d", next, *theirs);
  MPI_Win_unlock_all(window);

  MPI_Win_free(&window);
  MPI_Comm_free(&node);
  printf("shared size %d\n", size);
}

enum { kBlock = 16 };

static int expected(int from, int to, int index) { return (from * world_size + to) * kBlock + index; }

// Every rank sends every other rank a block that is unique to this pair.
static void alltoall(void) {
  const size_t bytes = (size_t)world_size * kBlock * sizeof(int);
  int* sent = malloc(bytes);
  int* received = malloc(bytes);
  for (int to = 0; to < world_size; ++to) {
    for (int i = 0; i < kBlock; ++i) sent[to * kBlock + i] = expected(world_rank, to, i);
  }
  MPI_Alltoall(sent, kBlock, MPI_INT, received, kBlock, MPI_INT, MPI_COMM_WORLD);
  for (int from = 0; from < world_size; ++from) {
    for (int i = 0; i < kBlock; ++i) {
      const int value = received[from * kBlock + i];
      require(value == expected(from, world_rank, i), "block of rank %d, place %d: %d", from, i, value);
    }
  }
  free(sent);
  free(received);
}

int main(int argc, char** argv) {
  static const struct {
    const char* name;
    void (*run)(void);
  } patterns[] = {{"allreduce", allreduce},
                  {"ring", ring},
                  {"onesided", onesided},
                  {"shared", shared},
                  {"alltoall", alltoall}};
  enum { kPatterns = sizeof patterns / sizeof *patterns };
  start(&argc, &argv);
  for (int i = 1; i < argc; ++i) {
    int known = 0;
    while (known < kPatterns && strcmp(argv[i], patterns[known].name) != 0) ++known;
    require(known < kPatterns, "'%s' is no pattern", argv[i]);
    patterns[known].run();
    printf("%s: rank %d of %d ok\n", argv[i], world_rank, world_size);
  }
  MPI_Finalize();
  return 0;
}
