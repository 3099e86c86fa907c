/* The PMI-1 API, as defined by RFC 13 of the Flux framework ("Simple Process Manager Interface v1").
 *
 * A program links with libpmi.so.0, or opens it with dlopen(). PMI_Init() finds the server by the
 * environment: PMI_FD with PMI_RANK and PMI_SIZE, else PMI_PORT (host:port, tcp://host:port, unix:///path,
 * /path, unix://@name) with PMI_ID. Without these the process is a process group of size 1.
 *
 * Every function returns one of the codes below. PMI_ERR_INIT: the call was before PMI_Init() or after
 * PMI_Finalize(). A connection error is also printed as one line on stderr. A kvsname of another process
 * group is PMI_ERR_INVALID_ARG. Lengths are in bytes and include the terminator. A failed call changes no
 * argument.
 *
 * Threads: any. A call waits until a running call returns, so a barrier blocks all other calls. Except for
 * PMI_Barrier(), a call fails if the server has sent nothing for a minute. */
#ifndef WIREUP_PMI_H
#define WIREUP_PMI_H

#ifdef __cplusplus
extern "C" {
#endif

#define PMI_SUCCESS 0
#define PMI_FAIL (-1)
#define PMI_ERR_INIT 1               /* not initialized */
#define PMI_ERR_NOMEM 2              /* input buffer not large enough */
#define PMI_ERR_INVALID_ARG 3        /* invalid argument */
#define PMI_ERR_INVALID_KEY 4        /* invalid key argument */
#define PMI_ERR_INVALID_KEY_LENGTH 5 /* invalid key length argument */
#define PMI_ERR_INVALID_VAL 6        /* invalid val argument */
#define PMI_ERR_INVALID_VAL_LENGTH 7 /* invalid val length argument */
#define PMI_ERR_INVALID_LENGTH 8     /* invalid length argument */
#define PMI_ERR_INVALID_NUM_ARGS 9   /* invalid number of arguments */
#define PMI_ERR_INVALID_ARGS 10      /* invalid args argument */
#define PMI_ERR_INVALID_NUM_PARSED 11
#define PMI_ERR_INVALID_KEYVALP 12
#define PMI_ERR_INVALID_SIZE 13

/* Initialization. A second PMI_Init() returns PMI_FAIL and changes nothing. */
int PMI_Init(int* spawned);
int PMI_Initialized(int* initialized);
int PMI_Finalize(void);
/* Prints error_msg, requests the end of the job, and exits with exit_code. Does not return. */
int PMI_Abort(int exit_code, const char error_msg[]);

/* The process group. */
int PMI_Get_size(int* size);
int PMI_Get_rank(int* rank);
int PMI_Get_universe_size(int* size);
int PMI_Get_appnum(int* appnum);

/* The ranks on this node; only this rank if the server does not report them. PMI_FAIL: the server's value
 * cannot be parsed. PMI_ERR_INVALID_LENGTH: `length` is less than the clique's size. */
int PMI_Get_clique_size(int* size);
int PMI_Get_clique_ranks(int ranks[], int length);

/* The key-value space. PMI_ERR_INVALID_LENGTH: the buffer is too short for the string. PMI_FAIL: there is no
 * such key. */
int PMI_KVS_Get_name_length_max(int* length);
int PMI_KVS_Get_key_length_max(int* length);
int PMI_KVS_Get_value_length_max(int* length);
int PMI_Get_id_length_max(int* length);
int PMI_KVS_Get_my_name(char kvsname[], int length);
int PMI_Get_kvs_domain_id(char kvsname[], int length);
int PMI_Get_id(char kvsname[], int length);
int PMI_KVS_Put(const char kvsname[], const char key[], const char value[]);
int PMI_KVS_Commit(const char kvsname[]);
/* A reserved key (PMI_...) that does not exist has an empty value. */
int PMI_KVS_Get(const char kvsname[], const char key[], char value[], int length);
int PMI_Barrier(void);

/* Published names. PMI_FAIL: the server has no name service. `port` of PMI_Lookup_name() must have room for
 * as many bytes as PMI_KVS_Get_value_length_max() returns; a longer port is PMI_FAIL. */
int PMI_Publish_name(const char service_name[], const char port[]);
int PMI_Unpublish_name(const char service_name[]);
int PMI_Lookup_name(const char service_name[], char port[]);

/* Optional in RFC 13, and without effect here: each returns PMI_FAIL. */
typedef struct {
  const char* key;
  char* val;
} PMI_keyval_t;

int PMI_Spawn_multiple(int count, const char* cmds[], const char** argvs[], const int maxprocs[],
                       const int info_keyval_sizesp[], const PMI_keyval_t* info_keyval_vectors[],
                       int preput_keyval_size, const PMI_keyval_t preput_keyval_vector[], int errors[]);
int PMI_KVS_Create(char kvsname[], int length);
int PMI_KVS_Destroy(const char kvsname[]);
int PMI_KVS_Iter_first(const char kvsname[], char key[], int key_len, char val[], int val_len);
int PMI_KVS_Iter_next(const char kvsname[], char key[], int key_len, char val[], int val_len);
int PMI_Parse_option(int num_args, char* args[], int* num_parsed, PMI_keyval_t** keyvalp, int* size);
int PMI_Args_to_keyval(int* argcp, char*((*argvp)[]), PMI_keyval_t** keyvalp, int* size);
int PMI_Free_keyvals(PMI_keyval_t keyvalp[], int size);
int PMI_Get_options(char* str, int* length);

#ifdef __cplusplus
}
#endif

#endif
