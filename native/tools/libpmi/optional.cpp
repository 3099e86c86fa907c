// The functions that RFC 13 makes optional, without effect, so that programs that use them can be linked.
#include <wireup/pmi.h>

extern "C" {

int PMI_KVS_Create(char[], int) { return PMI_FAIL; }

int PMI_KVS_Destroy(const char[]) { return PMI_FAIL; }

int PMI_KVS_Iter_first(const char[], char[], int, char[], int) { return PMI_FAIL; }

int PMI_KVS_Iter_next(const char[], char[], int, char[], int) { return PMI_FAIL; }

int PMI_Parse_option(int, char*[], int*, PMI_keyval_t**, int*) { return PMI_FAIL; }

int PMI_Args_to_keyval(int*, char*((*)[]), PMI_keyval_t**, int*) { return PMI_FAIL; }

int PMI_Free_keyvals(PMI_keyval_t[], int) { return PMI_FAIL; }

int PMI_Get_options(char*, int*) { return PMI_FAIL; }

}  // extern "C"
