// Prints "rank R fd N -> TARGET" for every open fd except the one that reads the directory, and which fd is
// PMI_FD.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void) {
  const char* rank = getenv("PMI_RANK");
  const char* pmi_fd = getenv("PMI_FD");
  DIR* directory = opendir("/proc/self/fd");
  if (rank == NULL || directory == NULL) {
    fprintf(stderr, "list_fds: no PMI_RANK or no /proc\n");
    return 90;
  }
  for (struct dirent* entry; (entry = readdir(directory)) != NULL;) {
    if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(directory)) continue;
    char target[4096];
    const ssize_t length = readlinkat(dirfd(directory), entry->d_name, target, sizeof target);
    if (length < 0) {
      perror("list_fds: readlink");
      return 90;
    }
    printf("rank %s fd %s -> %.*s\n", rank, entry->d_name, (int)length, target);
  }
  printf("rank %s PMI_FD %s\n", rank, pmi_fd == NULL ? "none" : pmi_fd);
  return 0;
}
