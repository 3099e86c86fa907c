/* The PMI-2 API, with the names, types and codes that MPICH's and Slurm's libraries give it.
 *
 * A program links with libpmi2.so.0, or opens it with dlopen(); PMI2_Init() finds the server as PMI_Init() of
 * wireup/pmi.h does, and offers it PMI-2. Without one the process is a job of size 1.
 *
 * Every function but PMI2_Initialized() returns one of the codes below; anything that a server refuses is
 * PMI2_FAIL or the code that it names. Lengths count bytes and include the terminator. Keys and values hold
 * no newline, and no semicolon, which not every PMI-2 library can read.
 *
 * Threads: any; a call waits while another one is under way, so a fence, and a PMI2_Info_GetNodeAttr() that
 * waits, hold up all others. Apart from these and PMI2_Job_Spawn(), a call gives up when the server has been
 * silent for a minute. */
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
/* Not 0 between the two. */
int PMI2_Initialized(void);
/* Prints msg, asks for the end of the job, and exits with 1. Does not return. */
int PMI2_Abort(int flag, const char msg[]);

/* argvs[i] has argcs[i] arguments, without the program. jobid may be NULL. errors has one element a process,
 * as many as maxprocs sums up to. */
int PMI2_Job_Spawn(int count, const char* cmds[], int argcs[], const char** argvs[], const int maxprocs[],
                   const int info_keyval_sizes[], const PMI2_keyval_t* info_keyval_vectors[],
                   int preput_keyval_size, const PMI2_keyval_t preput_keyval_vector[], char jobid[],
                   int jobid_size, int errors[]);
int PMI2_Job_GetId(char jobid[], int jobid_size);
int PMI2_Job_GetRank(int* rank);
/* No server connects jobs in this way: PMI2_FAIL. */
int PMI2_Job_Connect(const char jobid[], PMI2_Connect_comm_t* conn);
int PMI2_Job_Disconnect(const char jobid[]);

int PMI2_KVS_Put(const char key[], const char value[]);
int PMI2_KVS_Fence(void);
/* jobid: of this job, or NULL. src_pmi_id: a hint. vallen: the value's, negative when it has been cut to fit.
 */
int PMI2_KVS_Get(const char* jobid, int src_pmi_id, const char key[], char value[], int maxvalue,
                 int* vallen);

/* How many ranks share this one's node. */
/* How many ranks are on this node: 1 where the server does not say; PMI2_FAIL where what it says cannot be
 * read. */
int PMI2_Info_GetSize(int* size);
/* found: 0 when nobody has put it. waitfor: not 0 waits until somebody has. */
int PMI2_Info_GetNodeAttr(const char name[], char value[], int valuelen, int* found, int waitfor);
int PMI2_Info_GetNodeAttrIntArray(const char name[], int array[], int arraylen, int* outlen, int* found);
int PMI2_Info_PutNodeAttr(const char name[], const char value[]);
int PMI2_Info_GetJobAttr(const char name[], char value[], int valuelen, int* found);
int PMI2_Info_GetJobAttrIntArray(const char name[], int array[], int arraylen, int* outlen, int* found);

/* info_ptr is passed over. */
int PMI2_Nameserv_publish(const char service_name[], const PMI2_keyval_t* info_ptr, const char port[]);
int PMI2_Nameserv_lookup(const char service_name[], const PMI2_keyval_t* info_ptr, char port[], int portlen);
int PMI2_Nameserv_unpublish(const char service_name[], const PMI2_keyval_t* info_ptr);

#ifdef __cplusplus
}
#endif

#endif
