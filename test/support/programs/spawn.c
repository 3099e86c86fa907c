// Spawns as its arguments specify, communicates with the children, and prints the outcome. The child is this
// same program with the first argument "child".
//
//   spawn one N          rank 0's communicator spawns N children; a sum goes down and up; disconnect
//   spawn merge N        the same, with both joined into one communicator for the sum
//   spawn where N        the same as "one"; the children print MPI's name of their processor
//   spawn multiple       two commands each with its own arguments and info
//   spawn each           every rank in turn spawns two children by itself
//   spawn again K [stay] K spawns of one child, one after the other, then waits forever
//   spawn missing        a program that does not exist, then a spawn that works
//   spawn refused        the same if spawning is not allowed
//   spawn abort          a child aborts with code 7
//   spawn exit           the children exit with code 3
//   spawn hang           all wait forever
//   spawn deep N         a child spawns a child, N deep
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char* self;

// The exchange of parents and children: the children send the sum of their ranks plus the number that they
// received.
static void exchange_with_children(MPI_Comm children, int root, int count) {
  int word = 100;
  int sum = 0;
  MPI_Bcast(&word, 1, MPI_INT, root, children);
  MPI_Reduce(&word, &sum, 1, MPI_INT, MPI_SUM, root, children);
  if (root == MPI_ROOT) printf("%d children answered %d\n", count, sum);
  fflush(stdout);
}

static void exchange_with_parent(MPI_Comm parent) {
  int rank = 0;
  int word = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Bcast(&word, 1, MPI_INT, 0, parent);
  word += rank;
  int unused = 0;
  MPI_Reduce(&word, &unused, 1, MPI_INT, MPI_SUM, 0, parent);
}

static MPI_Comm spawn(char** args, int count, MPI_Comm comm) {
  MPI_Comm children;
  MPI_Comm_spawn(self, args, count, MPI_INFO_NULL, 0, comm, &children, MPI_ERRCODES_IGNORE);
  return children;
}

static int child(int argc, char** argv, MPI_Comm parent) {
  const char* what = argc > 2 ? argv[2] : "talk";
  if (strcmp(what, "abort") == 0) {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 1) MPI_Abort(MPI_COMM_WORLD, 7);
    pause();
  }
  if (strcmp(what, "exit") == 0) exit(3);
  if (strcmp(what, "hang") == 0) {
    printf("child hangs\n");
    fflush(stdout);
    pause();
  }
  if (strcmp(what, "merge") == 0) {
    MPI_Comm all;
    int size = 0;
    int one = 1;
    MPI_Intercomm_merge(parent, 1, &all);
    MPI_Comm_size(all, &size);
    MPI_Allreduce(MPI_IN_PLACE, &one, 1, MPI_INT, MPI_SUM, all);
    printf("child: %d of %d\n", one, size);
    MPI_Comm_free(&all);
  }
  if (strcmp(what, "where") == 0) {
    char name[MPI_MAX_PROCESSOR_NAME];
    int length = 0;
    MPI_Get_processor_name(name, &length);
    printf("child on %s\n", name);
  }
  if (strcmp(what, "args") == 0) {
    int size = 0;
    int* appnum = NULL;
    int found = 0;
    char folder[4096];
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_APPNUM, &appnum, &found);
    printf("child of %d, appnum %d, argument %s, in %s\n", size, found ? *appnum : -1, argv[3],
           getcwd(folder, sizeof folder));
  }
  if (strcmp(what, "deep") == 0 && atoi(argv[3]) > 0) {
    char depth[16];
    char* args[] = {"child", "deep", depth, NULL};
    snprintf(depth, sizeof depth, "%d", atoi(argv[3]) - 1);
    printf("child at %s spawns\n", argv[3]);
    fflush(stdout);
    MPI_Comm children = spawn(args, 1, MPI_COMM_SELF);
    exchange_with_children(children, MPI_ROOT, 1);
    MPI_Comm_disconnect(&children);
  }
  fflush(stdout);
  exchange_with_parent(parent);
  MPI_Comm_disconnect(&parent);
  MPI_Finalize();
  return 0;
}

int main(int argc, char** argv) {
  MPI_Comm parent;
  int rank = 0;
  int size = 0;
  self = argv[0];
  MPI_Init(&argc, &argv);
  MPI_Comm_get_parent(&parent);
  if (parent != MPI_COMM_NULL) return child(argc, argv, parent);

  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const char* what = argc > 1 ? argv[1] : "one";
  const int count = argc > 2 ? atoi(argv[2]) : 1;
  const int root = rank == 0 ? MPI_ROOT : MPI_PROC_NULL;
  MPI_Comm children = MPI_COMM_NULL;

  if (strcmp(what, "one") == 0 || strcmp(what, "where") == 0) {
    char* args[] = {"child", (char*)what, NULL};
    children = spawn(args, count, MPI_COMM_WORLD);
    exchange_with_children(children, root, count);
    MPI_Comm_disconnect(&children);
  } else if (strcmp(what, "merge") == 0) {
    char* args[] = {"child", "merge", NULL};
    MPI_Comm all;
    int one = 1;
    children = spawn(args, count, MPI_COMM_WORLD);
    MPI_Intercomm_merge(children, 0, &all);
    MPI_Allreduce(MPI_IN_PLACE, &one, 1, MPI_INT, MPI_SUM, all);
    if (rank == 0) printf("merged: %d\n", one);
    MPI_Comm_free(&all);
    exchange_with_children(children, root, count);
    MPI_Comm_disconnect(&children);
  } else if (strcmp(what, "multiple") == 0) {
    char* first[] = {"child", "args", "with blank", NULL};
    char* second[] = {"child", "args", "second", NULL};
    char* commands[] = {self, self};
    char** args[] = {first, second};
    int counts[] = {1, 2};
    int codes[3] = {9, 9, 9};
    MPI_Info infos[2];
    MPI_Info_create(&infos[0]);
    MPI_Info_create(&infos[1]);
    MPI_Info_set(infos[1], "wdir", "/");
    MPI_Info_set(infos[1], "unheard_of", "1");
    MPI_Comm_spawn_multiple(2, commands, args, counts, infos, 0, MPI_COMM_WORLD, &children, codes);
    exchange_with_children(children, root, 3);
    if (rank == 0) printf("codes %d %d %d\n", codes[0], codes[1], codes[2]);
    MPI_Comm_disconnect(&children);
    MPI_Info_free(&infos[0]);
    MPI_Info_free(&infos[1]);
  } else if (strcmp(what, "each") == 0) {
    char* args[] = {"child", NULL};
    for (int turn = 0; turn < size; turn++) {
      if (turn == rank) {
        children = spawn(args, 2, MPI_COMM_SELF);
        exchange_with_children(children, MPI_ROOT, 2);
        MPI_Comm_disconnect(&children);
      }
      MPI_Barrier(MPI_COMM_WORLD);
    }
  } else if (strcmp(what, "again") == 0) {
    char* args[] = {"child", NULL};
    for (int turn = 0; turn < count; turn++) {
      children = spawn(args, 1, MPI_COMM_WORLD);
      exchange_with_children(children, root, 1);
      MPI_Comm_disconnect(&children);
    }
    if (argc > 3) {
      printf("stays\n");
      fflush(stdout);
      pause();
    }
  } else if (strcmp(what, "missing") == 0 || strcmp(what, "refused") == 0) {
    char* args[] = {"child", NULL};
    int codes[2] = {MPI_SUCCESS, MPI_SUCCESS};
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    const int code = MPI_Comm_spawn(strcmp(what, "refused") == 0 ? self : "/nonexistent/program", args, 2,
                                    MPI_INFO_NULL, 0, MPI_COMM_WORLD, &children, codes);
    printf("spawn %s\n", code == MPI_SUCCESS ? "succeeded" : "failed");
    fflush(stdout);
    MPI_Barrier(MPI_COMM_WORLD);
  } else if (strcmp(what, "abort") == 0 || strcmp(what, "exit") == 0 || strcmp(what, "hang") == 0) {
    char* args[] = {"child", (char*)what, NULL};
    children = spawn(args, 2, MPI_COMM_WORLD);
    pause();
  } else if (strcmp(what, "deep") == 0) {
    char depth[16];
    char* args[] = {"child", "deep", depth, NULL};
    snprintf(depth, sizeof depth, "%d", count - 1);
    children = spawn(args, 1, MPI_COMM_WORLD);
    exchange_with_children(children, root, 1);
    MPI_Comm_disconnect(&children);
  }
  if (rank == 0) printf("%s done\n", what);
  MPI_Finalize();
  return 0;
}
