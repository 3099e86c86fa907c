// Shared by the MPI programs: a failure that ends the whole job, and a limit on their lifetime.
#pragma once

#include <mpi.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// A program that a broken launcher leaves behind ends itself. No test takes nearly as long.
enum { kLifetimeSeconds = 120 };

static int world_rank;
static int world_size;

static inline void start(int* argc, char*** argv) {
  alarm(kLifetimeSeconds);
  MPI_Init(argc, argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
  MPI_Comm_size(MPI_COMM_WORLD, &world_size);
}

// No program's expected exit code is 90, so a failed check cannot be mistaken for a planned failure.
__attribute__((format(printf, 2, 3))) static inline void require(int condition, const char* format, ...) {
  if (condition) return;
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "check failed on rank %d: ", world_rank);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  MPI_Abort(MPI_COMM_WORLD, 90);
}

static inline int finish(const char* program) {
  MPI_Finalize();
  printf("%s: rank %d of %d ok\n", program, world_rank, world_size);
  return 0;
}

// For failure tests: prints which process is which rank once every rank has passed MPI_Init.
static inline void announce(void) {
  printf("rank %d pid %d\n", world_rank, (int)getpid());
  fflush(stdout);
  MPI_Barrier(MPI_COMM_WORLD);
}

// Returns argv[index] as a number.
static inline int argument(int argc, char** argv, int index) {
  require(argc > index, "argument %d is missing", index);
  char* end = NULL;
  const long value = strtol(argv[index], &end, 10);
  require(end != argv[index] && *end == '\0', "'%s' is not a number", argv[index]);
  return (int)value;
}

// Waits, without using the processor, until the launcher ends this rank.
static inline void wait_for_end(void) {
  for (;;) pause();
}
