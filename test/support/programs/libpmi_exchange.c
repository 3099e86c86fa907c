// Every rank puts a business card by libpmi and gets those of all other ranks. With a second argument it does
// not expect that all ranks are on one node.
#include "libpmi.h"

int main(int argc, char** argv) {
  REQUIRE(argc == 2 || argc == 3);
  open_libpmi(argv[1]);
  int spawned = -1, rank = -1, size = -1, clique = -1, all = 0;
  EXPECT(PMI_SUCCESS, PMI_Init(&spawned));
  REQUIRE(spawned == 0);
  EXPECT(PMI_SUCCESS, PMI_Get_rank(&rank));
  EXPECT(PMI_SUCCESS, PMI_Get_size(&size));
  char name[256], key[64], value[1024], expected[64];
  EXPECT(PMI_SUCCESS, PMI_KVS_Get_my_name(name, sizeof name));
  snprintf(key, sizeof key, "card-%d", rank);
  snprintf(value, sizeof value, "of-%d", rank);
  EXPECT(PMI_SUCCESS, PMI_KVS_Put(name, key, value));
  EXPECT(PMI_SUCCESS, PMI_KVS_Commit(name));
  EXPECT(PMI_SUCCESS, PMI_Barrier());
  for (int other = 0; other < size; ++other) {
    snprintf(key, sizeof key, "card-%d", other);
    snprintf(expected, sizeof expected, "of-%d", other);
    EXPECT(PMI_SUCCESS, PMI_KVS_Get(name, key, value, sizeof value));
    REQUIRE(strcmp(value, expected) == 0);
  }
  EXPECT(PMI_SUCCESS, PMI_Get_clique_size(&clique));
  int* ranks = calloc((size_t)clique, sizeof *ranks);
  EXPECT(PMI_SUCCESS, PMI_Get_clique_ranks(ranks, clique));
  for (int i = 0; i < clique; ++i) all += ranks[i] == i;
  REQUIRE(argc == 3 || (clique == size && all == size));
  free(ranks);
  EXPECT(PMI_SUCCESS, PMI_Barrier());
  EXPECT(PMI_SUCCESS, PMI_Finalize());
  printf("libpmi: rank %d of %d ok\n", rank, size);
  return 0;
}
