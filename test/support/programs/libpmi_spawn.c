// libpmi_spawn LIBRARY WHAT...: spawns by PMI_Spawn_multiple of libpmi. The child is this program with the
// first argument "child". "info KEY VALUE [WORD]" spawns four ranks from rank 0 with that info, and "info"
// without info. The children get WORD, or "asked".
#include <unistd.h>

#include "libpmi.h"

static int child(char** argv) {
  char kvsname[256], value[1024], folder[4096];
  int spawned = 0, rank = 0, size = 0, appnum = 0;
  EXPECT(PMI_SUCCESS, PMI_Init(&spawned));
  REQUIRE(spawned == 1);
  EXPECT(PMI_SUCCESS, PMI_Get_rank(&rank));
  EXPECT(PMI_SUCCESS, PMI_Get_size(&size));
  EXPECT(PMI_SUCCESS, PMI_Get_appnum(&appnum));
  EXPECT(PMI_SUCCESS, PMI_KVS_Get_my_name(kvsname, sizeof kvsname));
  EXPECT(PMI_SUCCESS, PMI_KVS_Get(kvsname, "PARENT", value, sizeof value));
  // The spawned process group has its own kvsname and its own barrier.
  REQUIRE(strcmp(value, kvsname) != 0);
  EXPECT(PMI_SUCCESS, PMI_Barrier());
  printf("child %d of %d, appnum %d, %s, in %s, FROM=%s\n", rank, size, appnum, argv[3],
         getcwd(folder, sizeof folder), getenv("FROM") == NULL ? "" : getenv("FROM"));
  fflush(stdout);
  EXPECT(PMI_SUCCESS, PMI_Finalize());
  return strcmp(argv[3], "fails") == 0 ? 3 : 0;
}

static int spawn_with(const char* library, char* program, const char* key, char* value, const char* word) {
  const char* words[] = {library, "child", word, NULL};
  const char** args[] = {words};
  const char* commands[] = {program};
  const int counts[] = {4}, sizes[] = {key == NULL ? 0 : 1};
  const PMI_keyval_t pairs[] = {{key, value}};
  const PMI_keyval_t* infos[] = {pairs};
  const PMI_keyval_t preput[] = {{"PARENT", "parent"}};
  int errors[4] = {9, 9, 9, 9}, rank = 0;
  EXPECT(PMI_SUCCESS, PMI_Get_rank(&rank));
  if (rank != 0) {
    EXPECT(PMI_SUCCESS, PMI_Finalize());
    return 0;
  }
  const int rc = lib.PMI_Spawn_multiple(1, commands, args, counts, sizes, infos, 1, preput, errors);
  printf("spawn %d, errors %d %d %d %d\n", rc, errors[0], errors[1], errors[2], errors[3]);
  EXPECT(PMI_SUCCESS, PMI_Finalize());
  return 0;
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  open_libpmi(argv[1]);
  if (argc > 3 && strcmp(argv[2], "child") == 0) return child(argv);
  char kvsname[256];
  int spawned = 1, errors[3] = {9, 9, 9};
  EXPECT(PMI_SUCCESS, PMI_Init(&spawned));
  REQUIRE(spawned == 0);
  EXPECT(PMI_SUCCESS, PMI_KVS_Get_my_name(kvsname, sizeof kvsname));
  if (strcmp(argv[2], "info") == 0)
    return spawn_with(argv[1], argv[0], argc > 4 ? argv[3] : NULL, argc > 4 ? argv[4] : NULL,
                      argc > 5 ? argv[5] : "asked");
  const char* word = strcmp(argv[2], "fails") == 0 ? "fails" : "first word";
  const char* first[] = {argv[1], "child", word, NULL};
  const char* second[] = {argv[1], "child", "second", NULL};
  const char** args[] = {first, second};
  const char* commands[] = {argv[0], strcmp(argv[2], "missing") == 0 ? "/nonexistent/program" : argv[0]};
  const int counts[] = {1, 2};
  const PMI_keyval_t about[] = {{"wdir", "/"}, {"env", "FROM=info"}, {"unheard_of", "1"}};
  const PMI_keyval_t* infos[] = {NULL, about};
  const int sizes[] = {0, 3};
  const PMI_keyval_t preput[] = {{"PARENT", kvsname}};
  EXPECT(PMI_ERR_INVALID_ARG, PMI_Spawn_multiple(0, commands, args, counts, sizes, infos, 1, preput, errors));
  EXPECT(PMI_ERR_INVALID_KEYVALP,
         PMI_Spawn_multiple(2, commands, args, counts, sizes, infos, 1, NULL, errors));
  const int rc = lib.PMI_Spawn_multiple(2, commands, args, counts, sizes, infos, 1, preput, errors);
  printf("spawn %d, errors %d %d %d\n", rc, errors[0], errors[1], errors[2]);
  fflush(stdout);
  EXPECT(PMI_SUCCESS, PMI_Finalize());
  return 0;
}
