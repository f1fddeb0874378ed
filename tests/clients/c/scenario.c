/*
 * libzookeeper-mt against one server: the steps every client shows, by the synchronous calls, then the removal of
 * watches. A step's name is printed only after everything in it held.
 */
#define THREADED
#include <arpa/inet.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#define ROOT "/c-scenario"

#define THAT(condition) \
    do { \
        if (!(condition)) { \
            printf("%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

#define IS(expected, call) \
    do { \
        int found = (call); \
        if (found != (expected)) { \
            printf("%s:%d: %s: expected %s, found %s\n", __FILE__, __LINE__, #call, zerror(expected), zerror(found)); \
            exit(1); \
        } \
    } while (0)

#define UNTIL(condition) \
    do { \
        int left = 1000; \
        while (!(condition)) { \
            THAT(left-- > 0 && "waited in vain for " #condition); \
            usleep(20000); \
        } \
    } while (0)

#define EVENTS_MAX 256

/* A handle with what its watcher was told. */
struct client {
    zhandle_t *zh;
    pthread_mutex_t lock;
    int states[EVENTS_MAX], state_count;
    struct {
        int type;
        char path[128];
    } events[EVENTS_MAX];
    int event_count;
};

static zhandle_t *zk;
static char path[256], name[256];

static void on_event(zhandle_t *zh, int type, int state, const char *where, void *context) {
    struct client *client = context;
    (void)zh;
    pthread_mutex_lock(&client->lock);
    if (type == ZOO_SESSION_EVENT) {
        THAT(client->state_count < EVENTS_MAX);
        client->states[client->state_count++] = state;
    } else {
        THAT(client->event_count < EVENTS_MAX);
        client->events[client->event_count].type = type;
        snprintf(client->events[client->event_count++].path, 128, "%s", where);
    }
    pthread_mutex_unlock(&client->lock);
}

static int event_count(struct client *client) {
    pthread_mutex_lock(&client->lock);
    int count = client->event_count;
    pthread_mutex_unlock(&client->lock);
    return count;
}

static int told(struct client *client, int type, const char *where) {
    int found = 0;
    pthread_mutex_lock(&client->lock);
    for (int index = 0; index < client->event_count; index++) {
        found |= client->events[index].type == type && strcmp(client->events[index].path, where) == 0;
    }
    pthread_mutex_unlock(&client->lock);
    return found;
}

/* Whether the handle has been disconnected and is connected again. */
static int came_back(struct client *client) {
    pthread_mutex_lock(&client->lock);
    int lost = 0, back = 0;
    for (int index = 0; index < client->state_count; index++) {
        lost |= client->states[index] == ZOO_CONNECTING_STATE;
        back |= lost && client->states[index] == ZOO_CONNECTED_STATE;
    }
    pthread_mutex_unlock(&client->lock);
    return back;
}

static struct client *client_to(const char *server, int timeout_ms) {
    struct client *client = calloc(1, sizeof *client);
    pthread_mutex_init(&client->lock, NULL);
    client->zh = zookeeper_init(getenv(server), on_event, timeout_ms, NULL, client, 0);
    THAT(client->zh != NULL);
    UNTIL(zoo_state(client->zh) == ZOO_CONNECTED_STATE);
    return client;
}

/* One command to the control port: cut, hold, release, stop, start or restart. */
static void ask(const char *what) {
    static int control = -1;
    char answer[8] = {0};
    if (control < 0) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        address.sin_port = htons(atoi(strchr(getenv("ZK_CONTROL"), ':') + 1));
        control = socket(AF_INET, SOCK_STREAM, 0);
        THAT(connect(control, (struct sockaddr *)&address, sizeof address) == 0);
    }
    THAT(dprintf(control, "%s\n", what) > 0);
    THAT(read(control, answer, sizeof answer - 1) == 3 && strcmp(answer, "ok\n") == 0);
}

static const char *at(const char *below) {
    static char full[8][256];
    static int next;
    char *made = full[next++ % 8];
    snprintf(made, 256, "%s%s", ROOT, below);
    return made;
}

static int create(zhandle_t *by, const char *where, int flags) {
    return zoo_create(by, where, "data", 4, &ZOO_OPEN_ACL_UNSAFE, flags, name, sizeof name);
}

static struct Stat stat_of(const char *where) {
    struct Stat stat;
    IS(ZOK, zoo_exists(zk, where, 0, &stat));
    return stat;
}

static int gone(const char *where) {
    int code = zoo_exists(zk, where, 0, NULL);
    THAT(code == ZOK || code == ZNONODE);
    return code == ZNONODE;
}

static void connect_step(void) {
    zk = client_to("ZK_SERVER", 10000)->zh;
    THAT(zoo_client_id(zk)->client_id != 0 && zoo_recv_timeout(zk) == 10000);
    IS(ZOK, create(zk, ROOT, 0));
}

static void create_kinds(void) {
    struct Stat stat;
    IS(ZOK, zoo_create2(zk, at("/kinds"), "12345", 5, &ZOO_OPEN_ACL_UNSAFE, 0, name, sizeof name, &stat));
    THAT(stat.dataLength == 5 && stat.version == 0 && stat.czxid == stat.pzxid);
    IS(ZOK, create(zk, at("/kinds/ephemeral"), ZOO_EPHEMERAL));
    THAT(stat_of(at("/kinds/ephemeral")).ephemeralOwner == zoo_client_id(zk)->client_id);
    IS(ZOK, create(zk, at("/kinds/seq-"), ZOO_SEQUENCE));
    THAT(strcmp(name, at("/kinds/seq-0000000001")) == 0);
    IS(ZOK, create(zk, at("/kinds/both-"), ZOO_SEQUENCE | ZOO_EPHEMERAL));
    THAT(strcmp(name, at("/kinds/both-0000000002")) == 0);
    IS(ZOK, zoo_create(zk, at("/kinds/null"), NULL, -1, &ZOO_OPEN_ACL_UNSAFE, 0, NULL, 0));
    char data[8];
    int length = sizeof data;
    IS(ZOK, zoo_get(zk, at("/kinds/null"), 0, data, &length, NULL));
    THAT(length == -1);
}

static void versions(void) {
    struct Stat stat;
    char data[8];
    int length = sizeof data;
    IS(ZOK, create(zk, at("/versions"), 0));
    IS(ZOK, zoo_set2(zk, at("/versions"), "one", 3, 0, &stat));
    THAT(stat.version == 1);
    IS(ZBADVERSION, zoo_set(zk, at("/versions"), "x", 1, 0));
    IS(ZOK, zoo_set(zk, at("/versions"), "", 0, -1));
    IS(ZOK, zoo_get(zk, at("/versions"), 0, data, &length, &stat));
    THAT(length == 0 && stat.version == 2 && stat.mzxid > stat.czxid);
    IS(ZBADVERSION, zoo_delete(zk, at("/versions"), 1));
    IS(ZOK, zoo_delete(zk, at("/versions"), 2));
    THAT(gone(at("/versions")));
}

static void children(void) {
    struct String_vector names;
    struct Stat stat;
    IS(ZOK, create(zk, at("/children"), 0));
    IS(ZOK, create(zk, at("/children/b"), 0));
    IS(ZOK, create(zk, at("/children/a"), 0));
    IS(ZOK, create(zk, at("/children/ünïcode-節点"), 0));
    IS(ZOK, zoo_get_children2(zk, at("/children"), 0, &names, &stat));
    THAT(names.count == 3 && stat.cversion == 3 && stat.numChildren == 3);
    deallocate_String_vector(&names);
    IS(ZNOTEMPTY, zoo_delete(zk, at("/children"), -1));
}

static void watches_in_order(void) {
    struct client *watcher = client_to("ZK_SERVER", 10000);
    struct Stat stat;
    struct String_vector names;
    char data[8];
    int length = sizeof data;
    IS(ZNONODE, zoo_exists(watcher->zh, at("/watched"), 1, &stat));
    IS(ZOK, create(zk, at("/watched"), 0));
    UNTIL(told(watcher, ZOO_CREATED_EVENT, at("/watched")));
    IS(ZOK, zoo_get(watcher->zh, at("/watched"), 1, data, &length, &stat));
    IS(ZOK, zoo_get_children(watcher->zh, at("/watched"), 1, &names));
    IS(ZOK, create(zk, at("/watched/child"), 0));
    IS(ZOK, zoo_set(zk, at("/watched"), "1", 1, -1));
    UNTIL(event_count(watcher) == 3);
    THAT(watcher->events[1].type == ZOO_CHILD_EVENT && watcher->events[2].type == ZOO_CHANGED_EVENT);
    /* Events of many changes come in the changes' order. */
    for (int number = 0; number < 50; number++) {
        snprintf(path, sizeof path, "%s/%d", at("/watched"), number);
        IS(ZNONODE, zoo_exists(watcher->zh, path, 1, &stat));
    }
    for (int number = 0; number < 50; number++) {
        snprintf(path, sizeof path, "%s/%d", at("/watched"), number);
        IS(ZOK, create(zk, path, ZOO_EPHEMERAL));
    }
    UNTIL(event_count(watcher) == 53);
    for (int number = 0; number < 50; number++) {
        snprintf(path, sizeof path, "%s/%d", at("/watched"), number);
        THAT(strcmp(watcher->events[3 + number].path, path) == 0);
    }
    IS(ZOK, zookeeper_close(watcher->zh));
}

static void ephemeral_vanishes(void) {
    struct client *other = client_to("ZK_SERVER", 10000), *watcher = client_to("ZK_SERVER", 10000);
    struct Stat stat;
    IS(ZOK, create(other->zh, at("/short-lived"), ZOO_EPHEMERAL));
    IS(ZNOCHILDRENFOREPHEMERALS, create(zk, at("/short-lived/child"), 0));
    IS(ZOK, zoo_exists(watcher->zh, at("/short-lived"), 1, &stat));
    IS(ZOK, zookeeper_close(other->zh));
    UNTIL(told(watcher, ZOO_DELETED_EVENT, at("/short-lived")));
    THAT(gone(at("/short-lived")));
    IS(ZOK, zookeeper_close(watcher->zh));
}

static void sequential(void) {
    IS(ZOK, create(zk, at("/sequence"), 0));
    for (int number = 0; number < 50; number++) {
        snprintf(path, sizeof path, "%s%010d", at("/sequence/n-"), number);
        IS(ZOK, create(zk, at("/sequence/n-"), ZOO_SEQUENCE));
        THAT(strcmp(name, path) == 0);
    }
}

static void multi_succeeds(void) {
    zoo_op_t ops[5];
    zoo_op_result_t results[5];
    struct Stat stat;
    char plain[128], numbered[128];
    IS(ZOK, create(zk, at("/multi"), 0));
    strcpy(path, at("/multi/a"));
    zoo_check_op_init(&ops[0], at("/multi"), 0);
    zoo_create_op_init(&ops[1], path, "1", 1, &ZOO_OPEN_ACL_UNSAFE, 0, plain, sizeof plain);
    zoo_create_op_init(&ops[2], at("/multi/s-"), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_SEQUENCE, numbered, sizeof numbered);
    zoo_set_op_init(&ops[3], path, "2", 1, 0, &stat);
    zoo_delete_op_init(&ops[4], path, 1);
    IS(ZOK, zoo_multi(zk, 5, ops, results));
    THAT(strcmp(numbered, at("/multi/s-0000000001")) == 0 && stat.version == 1);
    THAT(gone(path));
}

static void multi_fails_whole(void) {
    zoo_op_t ops[4];
    zoo_op_result_t results[4];
    struct Stat stat, before, after;
    char made[128];
    IS(ZOK, create(zk, at("/multi-fails"), 0));
    before = stat_of(at("/multi-fails"));
    zoo_create_op_init(&ops[0], at("/multi-fails/a"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, made, sizeof made);
    zoo_set_op_init(&ops[1], at("/multi-fails"), "", 0, -1, &stat);
    zoo_check_op_init(&ops[2], at("/multi-fails"), 7);
    zoo_create_op_init(&ops[3], at("/multi-fails/b"), "", 0, &ZOO_OPEN_ACL_UNSAFE, 0, made, sizeof made);
    IS(ZBADVERSION, zoo_multi(zk, 4, ops, results));
    THAT(results[0].err == ZOK && results[1].err == ZOK && results[2].err == ZBADVERSION);
    IS(ZRUNTIMEINCONSISTENCY, results[3].err);
    after = stat_of(at("/multi-fails"));
    THAT(memcmp(&before, &after, sizeof before) == 0);
}

static void errors_are_mapped(void) {
    struct String_vector names;
    struct ACL_vector acls;
    struct ACL strange = {ZOO_PERM_ALL, {"no-such-scheme", "who"}};
    struct ACL_vector strangers = {1, &strange};
    char data[8];
    int length = sizeof data;
    IS(ZOK, create(zk, at("/errors"), 0));
    IS(ZNODEEXISTS, create(zk, at("/errors"), 0));
    IS(ZNONODE, create(zk, at("/errors/no/parent"), 0));
    IS(ZNONODE, zoo_get(zk, at("/errors/none"), 0, data, &length, NULL));
    IS(ZNONODE, zoo_set(zk, at("/errors/none"), "", 0, -1));
    IS(ZNONODE, zoo_delete(zk, at("/errors/none"), -1));
    IS(ZNONODE, zoo_get_children(zk, at("/errors/none"), 0, &names));
    IS(ZNONODE, zoo_get_acl(zk, at("/errors/none"), &acls, NULL));
    IS(ZBADVERSION, zoo_set_acl(zk, at("/errors"), 9, &ZOO_OPEN_ACL_UNSAFE));
    IS(ZBADARGUMENTS, zoo_delete(zk, "/zookeeper/config", -1));
    IS(ZINVALIDACL, zoo_create(zk, at("/errors/acl"), "", 0, &strangers, 0, NULL, 0));
    IS(ZINVALIDACL, zoo_create(zk, at("/errors/acl"), "", 0, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
}

static volatile int authenticated;

static void on_auth(int code, const void *data) {
    (void)data;
    authenticated = code == ZOK ? 1 : code;
}

static int add_auth(zhandle_t *zh, const char *scheme, const char *cert) {
    authenticated = 0;
    IS(ZOK, zoo_add_auth(zh, scheme, cert, strlen(cert), on_auth, NULL));
    UNTIL(authenticated != 0);
    return authenticated;
}

static void auth_and_acl(void) {
    struct client *owner = client_to("ZK_SERVER", 10000), *stranger;
    struct ACL_vector acls;
    struct Stat stat;
    char data[8];
    int length = sizeof data;
    IS(1, add_auth(owner->zh, "digest", "user:secret"));
    IS(ZOK, zoo_create(owner->zh, at("/secret"), "hidden", 6, &ZOO_CREATOR_ALL_ACL, 0, NULL, 0));
    IS(ZNOAUTH, zoo_get(zk, at("/secret"), 0, data, &length, NULL));
    IS(ZNOAUTH, zoo_set(zk, at("/secret"), "", 0, -1));
    IS(ZNOAUTH, create(zk, at("/secret/child"), 0));
    IS(ZOK, zoo_get_acl(owner->zh, at("/secret"), &acls, &stat));
    THAT(acls.count == 1 && acls.data[0].perms == ZOO_PERM_ALL && strncmp(acls.data[0].id.id, "user:", 5) == 0);
    deallocate_ACL_vector(&acls);
    IS(ZOK, zoo_set_acl(owner->zh, at("/secret"), 0, &ZOO_READ_ACL_UNSAFE));
    length = sizeof data;
    IS(ZOK, zoo_get(zk, at("/secret"), 0, data, &length, &stat));
    THAT(length == 6 && memcmp(data, "hidden", 6) == 0 && stat.aversion == 1);
    IS(ZNOAUTH, zoo_set(zk, at("/secret"), "", 0, -1));
    IS(1, add_auth(owner->zh, "digest", "super:test"));
    IS(ZOK, zoo_set(owner->zh, at("/secret"), "", 0, -1));
    IS(ZOK, zookeeper_close(owner->zh));
    stranger = client_to("ZK_SERVER", 10000);
    IS(ZAUTHFAILED, add_auth(stranger->zh, "no-such-scheme", "who"));
    zookeeper_close(stranger->zh);
}

static void large_data(void) {
    const int size = 1044480;
    char *large = malloc(1100000), *read_back = malloc(size);
    int length = size;
    struct client *other = client_to("ZK_SERVER", 10000);
    for (int index = 0; index < 1100000; index++) {
        large[index] = (char)(index * 31);
    }
    IS(ZOK, create(zk, at("/large"), 0));
    IS(ZOK, zoo_set(zk, at("/large"), large, size, -1));
    IS(ZOK, zoo_get(zk, at("/large"), 0, read_back, &length, NULL));
    THAT(length == size && memcmp(large, read_back, size) == 0);
    IS(ZCONNECTIONLOSS, zoo_set(other->zh, at("/large"), large, 1100000, -1));
    THAT(stat_of(at("/large")).version == 1);
    zookeeper_close(other->zh);
    IS(ZOK, zoo_delete(zk, at("/large"), -1));
}

static volatile int answered, out_of_order;

static void on_set(int code, const struct Stat *stat, const void *number) {
    out_of_order += code != ZOK || stat->version != (intptr_t)number;
    answered++;
}

static void on_get(int code, const char *data, int length, const struct Stat *stat, const void *number) {
    char expected[16];
    int size = snprintf(expected, sizeof expected, "m%d", (int)(intptr_t)number);
    out_of_order += code != ZOK || length != size || memcmp(data, expected, size) != 0
        || stat->version != (intptr_t)number;
    answered++;
}

static void pipelined(void) {
    IS(ZOK, create(zk, at("/pipeline"), 0));
    for (intptr_t number = 1; number <= 5000; number++) {
        char data[16];
        int size = snprintf(data, sizeof data, "m%d", (int)number);
        IS(ZOK, zoo_aset(zk, at("/pipeline"), data, size, -1, on_set, (void *)number));
        IS(ZOK, zoo_aget(zk, at("/pipeline"), 0, on_get, (void *)number));
    }
    UNTIL(answered == 10000);
    THAT(out_of_order == 0);
}

static void cut_keeps_session(void) {
    struct client *other = client_to("ZK_PROXY", 10000), *heir;
    clientid_t session = *zoo_client_id(other->zh);
    IS(ZOK, create(other->zh, at("/cut"), ZOO_EPHEMERAL));
    ask("cut");
    UNTIL(came_back(other));
    THAT(zoo_client_id(other->zh)->client_id == session.client_id);
    THAT(stat_of(at("/cut")).ephemeralOwner == session.client_id);
    ask("hold");
    heir = calloc(1, sizeof *heir);
    heir->zh = zookeeper_init(getenv("ZK_SERVER"), on_event, 10000, &session, heir, 0);
    UNTIL(zoo_state(heir->zh) == ZOO_CONNECTED_STATE);
    IS(ZOK, zookeeper_close(heir->zh));
    THAT(gone(at("/cut")));
    ask("release");
    UNTIL(zoo_state(other->zh) == ZOO_EXPIRED_SESSION_STATE);
    zookeeper_close(other->zh);
}

static void cut_resets_watches(void) {
    struct client *other = client_to("ZK_PROXY", 20000);
    struct String_vector names;
    struct Stat stat;
    IS(ZOK, create(zk, at("/resets"), 0));
    IS(ZOK, create(zk, at("/resets/data"), 0));
    IS(ZOK, create(zk, at("/resets/gone"), 0));
    IS(ZOK, create(zk, at("/resets/quiet"), 0));
    char data[8];
    int length = sizeof data;
    IS(ZOK, zoo_get(other->zh, at("/resets/data"), 1, data, &length, &stat));
    length = sizeof data;
    IS(ZOK, zoo_get(other->zh, at("/resets/gone"), 1, data, &length, &stat));
    length = sizeof data;
    IS(ZOK, zoo_get(other->zh, at("/resets/quiet"), 1, data, &length, &stat));
    IS(ZNONODE, zoo_exists(other->zh, at("/resets/made"), 1, &stat));
    IS(ZOK, zoo_get_children(other->zh, at("/resets"), 1, &names));
    ask("hold");
    IS(ZOK, zoo_set(zk, at("/resets/data"), "", 0, -1));
    IS(ZOK, zoo_delete(zk, at("/resets/gone"), -1));
    IS(ZOK, create(zk, at("/resets/made"), 0));
    ask("release");
    UNTIL(event_count(other) >= 4);
    THAT(event_count(other) == 4 && told(other, ZOO_CHANGED_EVENT, at("/resets/data")));
    THAT(told(other, ZOO_DELETED_EVENT, at("/resets/gone")) && told(other, ZOO_CREATED_EVENT, at("/resets/made")));
    THAT(told(other, ZOO_CHILD_EVENT, at("/resets")));
    IS(ZOK, zoo_set(zk, at("/resets/quiet"), "", 0, -1));
    UNTIL(told(other, ZOO_CHANGED_EVENT, at("/resets/quiet")));
    zookeeper_close(other->zh);
}

static void restart_keeps_session(void) {
    struct client *mine = client_to("ZK_SERVER", 30000), *other = client_to("ZK_SERVER", 30000);
    struct Stat before = stat_of(ROOT), after, stat;
    int64_t session = zoo_client_id(other->zh)->client_id;
    zookeeper_close(zk);
    zk = mine->zh;
    IS(ZOK, create(other->zh, at("/restart"), ZOO_EPHEMERAL));
    before = stat_of(ROOT);
    IS(ZOK, zoo_exists(other->zh, at("/restart"), 1, &stat));
    ask("restart");
    UNTIL(came_back(mine) && came_back(other));
    after = stat_of(ROOT);
    THAT(memcmp(&before, &after, sizeof before) == 0);
    THAT(stat_of(at("/restart")).ephemeralOwner == session && zoo_client_id(other->zh)->client_id == session);
    IS(ZOK, zoo_set(zk, at("/restart"), "", 0, -1));
    UNTIL(told(other, ZOO_CHANGED_EVENT, at("/restart")));
    IS(ZOK, zookeeper_close(other->zh));
    THAT(gone(at("/restart")));
}

static void session_expires(void) {
    struct client *other = client_to("ZK_PROXY", 2000);
    IS(ZOK, create(other->zh, at("/expires"), ZOO_EPHEMERAL));
    ask("hold");
    UNTIL(gone(at("/expires")));
    ask("release");
    UNTIL(zoo_state(other->zh) == ZOO_EXPIRED_SESSION_STATE);
    IS(ZINVALIDSTATE, zoo_exists(other->zh, ROOT, 0, NULL));
    zookeeper_close(other->zh);
}

static void containers_and_ttl(void) {
    IS(ZOK, create(zk, at("/container"), ZOO_CONTAINER));
    IS(ZOK, create(zk, at("/container/child"), 0));
    IS(ZOK, zoo_create_ttl(zk, at("/ttl"), "", 0, &ZOO_OPEN_ACL_UNSAFE, ZOO_PERSISTENT_WITH_TTL, 300, NULL, 0));
    IS(ZOK, zoo_delete(zk, at("/container/child"), -1));
    UNTIL(gone(at("/container")) && gone(at("/ttl")));
}

static void remove_watches(void) {
    struct client *watcher = client_to("ZK_SERVER", 10000);
    struct Stat stat;
    IS(ZOK, create(zk, at("/unwatched"), 0));
    IS(ZOK, zoo_wexists(watcher->zh, at("/unwatched"), on_event, watcher, &stat));
    IS(ZOK, zoo_remove_watches(watcher->zh, at("/unwatched"), ZWATCHTYPE_DATA, on_event, watcher, 0));
    IS(ZNOWATCHER, zoo_remove_watches(watcher->zh, at("/unwatched"), ZWATCHTYPE_DATA, on_event, watcher, 0));
    IS(ZOK, zoo_set(zk, at("/unwatched"), "", 0, -1));
    IS(ZOK, zoo_exists(watcher->zh, at("/unwatched"), 0, &stat));
    THAT(!told(watcher, ZOO_CHANGED_EVENT, at("/unwatched")));
    zookeeper_close(watcher->zh);
}

int main(void) {
    static const struct {
        const char *name;
        void (*run)(void);
    } steps[] = {
        {"connect", connect_step}, {"create-kinds", create_kinds}, {"versions", versions}, {"children", children},
        {"watches-in-order", watches_in_order}, {"ephemeral-vanishes", ephemeral_vanishes},
        {"sequential", sequential}, {"multi-succeeds", multi_succeeds}, {"multi-fails-whole", multi_fails_whole},
        {"errors-are-mapped", errors_are_mapped}, {"auth-and-acl", auth_and_acl}, {"large-data", large_data},
        {"pipelined", pipelined}, {"cut-keeps-session", cut_keeps_session},
        {"cut-resets-watches", cut_resets_watches}, {"restart-keeps-session", restart_keeps_session},
        {"session-expires", session_expires}, {"containers-and-ttl", containers_and_ttl},
        {"remove-watches", remove_watches},
    };
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t step = 0; step < sizeof steps / sizeof *steps; step++) {
        steps[step].run();
        printf("ok %s\n", steps[step].name);
    }
    return 0;
}
