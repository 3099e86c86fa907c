/* The PMI-2 API, with the names, types and codes of MPICH's and Slurm's libraries.
 *
 * A program links with libpmi2.so.0, or opens it with dlopen(). PMI2_Init() finds the server as PMI_Init() of
 * wireup/pmi.h does, and asks it for PMI-2. Without a server the process is a process group of size 1.
 *
 * Every function except PMI2_Initialized() returns one of the codes below. If the server refuses a request,
 * the result is its code or PMI2_FAIL. Lengths are in bytes and include the terminator. Keys and values must
 * not contain a newline, or a semicolon, which some PMI-2 libraries cannot read.
 *
 * Threads: any. A call waits until a running call returns, so a fence, and a PMI2_Info_GetNodeAttr() that
 * waits, block all other calls. Except for these and PMI2_Job_Spawn(), a call fails if the server has sent
 * nothing for a minute. */
#ifndef WIREUP_PMI2_H
#define WIREUP_PMI2_H

#ifdef __cplusplus
extern "C" {
#endif

#define PMI2_SUCCESS 0
#define PMI2_FAIL (-1)
#define PMI2_ERR_INIT 1
#define PMI2_ERR_NOMEM 2
#define PMI2_ERR_INVALID_ARG 3
#define PMI2_ERR_INVALID_KEY 4
#define PMI2_ERR_INVALID_KEY_LENGTH 5
#define PMI2_ERR_INVALID_VAL 6
#define PMI2_ERR_INVALID_VAL_LENGTH 7
#define PMI2_ERR_INVALID_LENGTH 8
#define PMI2_ERR_INVALID_NUM_ARGS 9
#define PMI2_ERR_INVALID_ARGS 10
#define PMI2_ERR_INVALID_NUM_PARSED 11
#define PMI2_ERR_INVALID_KEYVALP 12
#define PMI2_ERR_INVALID_SIZE 13
#define PMI2_ERR_OTHER 14

#define PMI2_MAX_KEYLEN 64
#define PMI2_MAX_VALLEN 1024
#define PMI2_MAX_ATTRVALUE 1024
#define PMI2_ID_NULL (-1)

typedef struct PMI2_keyval_t {
  const char* key;
  const char* val;
} PMI2_keyval_t;

typedef struct PMI2_Connect_comm {
  int (*read)(void* buf, int maxlen, void* ctx);
  int (*write)(const void* buf, int len, void* ctx);
  void* ctx;
  int isMain;
} PMI2_Connect_comm_t;

int PMI2_Init(int* spawned, int* size, int* rank, int* appnum);
int PMI2_Finalize(void);
/* Not 0 between PMI2_Init() and PMI2_Finalize(). */
int PMI2_Initialized(void);
/* Prints msg, requests the end of the job, and exits with 1. Does not return. */
int PMI2_Abort(int flag, const char msg[]);

/* argvs[i] has argcs[i] arguments, without the program's name. jobid may be NULL. errors has one element for
 * each process: the sum of maxprocs. */
int PMI2_Job_Spawn(int count, const char* cmds[], int argcs[], const char** argvs[], const int maxprocs[],
                   const int info_keyval_sizes[], const PMI2_keyval_t* info_keyval_vectors[],
                   int preput_keyval_size, const PMI2_keyval_t preput_keyval_vector[], char jobid[],
                   int jobid_size, int errors[]);
int PMI2_Job_GetId(char jobid[], int jobid_size);
int PMI2_Job_GetRank(int* rank);
/* Not supported by any server: returns PMI2_FAIL. */
int PMI2_Job_Connect(const char jobid[], PMI2_Connect_comm_t* conn);
int PMI2_Job_Disconnect(const char jobid[]);

int PMI2_KVS_Put(const char key[], const char value[]);
int PMI2_KVS_Fence(void);
/* jobid: this job's, or NULL. src_pmi_id: a hint. vallen: the value's length, negative if the value was cut.
 */
int PMI2_KVS_Get(const char* jobid, int src_pmi_id, const char key[], char value[], int maxvalue,
                 int* vallen);

/* Number of ranks on this node; 1 if the server does not report it. PMI2_FAIL: the server's value cannot be
 * parsed. */
int PMI2_Info_GetSize(int* size);
/* found: 0 if no rank has put it. waitfor: if not 0, waits until a rank has put it. */
int PMI2_Info_GetNodeAttr(const char name[], char value[], int valuelen, int* found, int waitfor);
int PMI2_Info_GetNodeAttrIntArray(const char name[], int array[], int arraylen, int* outlen, int* found);
int PMI2_Info_PutNodeAttr(const char name[], const char value[]);
int PMI2_Info_GetJobAttr(const char name[], char value[], int valuelen, int* found);
int PMI2_Info_GetJobAttrIntArray(const char name[], int array[], int arraylen, int* outlen, int* found);

/* info_ptr is ignored. */
int PMI2_Nameserv_publish(const char service_name[], const PMI2_keyval_t* info_ptr, const char port[]);
int PMI2_Nameserv_lookup(const char service_name[], const PMI2_keyval_t* info_ptr, char port[], int portlen);
int PMI2_Nameserv_unpublish(const char service_name[], const PMI2_keyval_t* info_ptr);

#ifdef __cplusplus
}
#endif

#endif
