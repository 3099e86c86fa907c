// Ports and names. One side opens a port, publishes it and accepts; the other looks the name up and connects.
//
//   connect within            the first half of the ranks accepts, the second connects
//   connect accept SERVICE    publishes and prints that, accepts, exchanges numbers, unpublishes
//   connect connect SERVICE   looks the name up, connects, exchanges numbers
//   connect lookup SERVICE    prints whether the name is published
#include <mpi.h>
#include <stdio.h>
#include <string.h>

static void exchange_numbers(MPI_Comm other, int mine) {
  int theirs = -1;
  int rank = 0;
  MPI_Comm_rank(other, &rank);
  if (rank == 0) {
    MPI_Sendrecv(&mine, 1, MPI_INT, 0, 0, &theirs, 1, MPI_INT, 0, 0, other, MPI_STATUS_IGNORE);
    printf("%d received %d\n", mine, theirs);
    fflush(stdout);
  }
  MPI_Comm_disconnect(&other);
}

static void accept_one(const char* service, MPI_Comm comm) {
  char port[MPI_MAX_PORT_NAME] = "";
  MPI_Comm other;
  int rank = 0;
  MPI_Comm_rank(comm, &rank);
  if (rank == 0) {
    MPI_Open_port(MPI_INFO_NULL, port);
    MPI_Publish_name(service, MPI_INFO_NULL, port);
    printf("published\n");
    fflush(stdout);
  }
  MPI_Comm_accept(port, MPI_INFO_NULL, 0, comm, &other);
  exchange_numbers(other, 1);
  if (rank == 0) {
    MPI_Unpublish_name(service, MPI_INFO_NULL, port);
    MPI_Close_port(port);
  }
}

static int look_up(const char* service, char* port) {
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  const int code = MPI_Lookup_name(service, MPI_INFO_NULL, port);
  return code == MPI_SUCCESS;
}

static void connect_to(const char* service, MPI_Comm comm) {
  char port[MPI_MAX_PORT_NAME] = "";
  MPI_Comm other;
  int rank = 0;
  MPI_Comm_rank(comm, &rank);
  if (rank == 0 && !look_up(service, port)) MPI_Abort(MPI_COMM_WORLD, 9);
  MPI_Comm_connect(port, MPI_INFO_NULL, 0, comm, &other);
  exchange_numbers(other, 2);
}

int main(int argc, char** argv) {
  int rank = 0;
  int size = 0;
  MPI_Init(&argc, &argv);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const char* what = argc > 1 ? argv[1] : "within";
  const char* service = argc > 2 ? argv[2] : "service";
  if (strcmp(what, "within") == 0) {
    const int accepts = rank < size / 2;
    MPI_Comm half;
    MPI_Comm_split(MPI_COMM_WORLD, accepts, rank, &half);
    // The name must be published before the lookup.
    char port[MPI_MAX_PORT_NAME] = "";
    MPI_Comm other;
    if (rank == 0) {
      MPI_Open_port(MPI_INFO_NULL, port);
      MPI_Publish_name(service, MPI_INFO_NULL, port);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (accepts) {
      MPI_Comm_accept(port, MPI_INFO_NULL, 0, half, &other);
      exchange_numbers(other, 1);
      if (rank == 0) MPI_Unpublish_name(service, MPI_INFO_NULL, port);
    } else {
      connect_to(service, half);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    char again[MPI_MAX_PORT_NAME];
    if (rank == 0) printf("then it is %s\n", look_up(service, again) ? "there" : "gone");
    MPI_Comm_free(&half);
  } else if (strcmp(what, "accept") == 0) {
    accept_one(service, MPI_COMM_WORLD);
  } else if (strcmp(what, "connect") == 0) {
    connect_to(service, MPI_COMM_WORLD);
  } else {
    char port[MPI_MAX_PORT_NAME];
    printf("%s\n", look_up(service, port) ? "there" : "gone");
  }
  MPI_Finalize();
  return 0;
}
