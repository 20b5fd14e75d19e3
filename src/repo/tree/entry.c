/* SPDX-License-Identifier: Apache-2.0 */
/* A directory's tree while it is made: nodes are printed as soon as they are known, and what waits
 * for its turn is text. Memory for an entry is that of its JSON, about 350 bytes. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "repo/tree/saver.h"

struct vmbi_slot {
    vmbi_pool_job job;
    vmbi_tree_maker *maker;
    struct stat st;
    vmbi_repo_id *content; /* of an unchanged file */
    size_t n_content;
    char *name;            /* below maker->dirfd */
    const char *node_name; /* at the end of name */
    atomic_bool done; /* all below are the walking thread's after that */
    vmbi_buf json;
    uint64_t size, read;
    char *warning;
    bool grew, fatal;
    vmb_code rc;
    vmb_error *why;
    vmbi_slot *next;
};

static void free_slot(vmbi_slot *e)
{
    vmbi_free(e->content);
    vmbi_free(e->name);
    vmbi_free(e->warning);
    vmbi_buf_free(&e->json);
    vmb_error_free(e->why);
    vmbi_free(e);
}

/* ---- on a worker ------------------------------------------------------------------------------- */

static int open_file(int dirfd, const char *name)
{
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd = openat(dirfd, name, flags | O_NOATIME);
    return fd < 0 && errno == EPERM ? openat(dirfd, name, flags) : fd;
}

/* The entry was a file when the directory was listed; what it is now counts. */
static vmb_code read_file(vmbi_slot *e, vmbi_saver_worker *w, vmbi_node *node, vmb_error **err)
{
    vmbi_saver *s = e->maker->s;
    struct stat after;
    int fd = open_file(e->maker->dirfd, e->name);
    if (fd < 0) {
        return vmbi_fail_errno(err, errno, "open");
    }
    vmb_code rc = fstat(fd, &e->st) == 0 ? VMB_OK : vmbi_fail_errno(err, errno, "look at");
    if (rc == VMB_OK && !S_ISREG(e->st.st_mode)) {
        rc = vmbi_fail(err, VMB_E_IO, "it was a file and is none any more");
    }
    e->grew = rc == VMB_OK && e->st.st_size > VMBI_CHUNK_MIN;
    if (rc == VMB_OK && !e->grew) {
        rc = vmbi_stat_node(e->maker->dirfd, e->name, fd, e->node_name, &e->st, &w->owners, node,
                            &e->warning, err);
        if (rc == VMB_OK) {
            rc = vmbi_saver_small(s, w, fd, node, &e->grew, &e->fatal, err);
            e->read = node->size;
        }
        if (rc == VMB_OK && !e->grew && e->warning == NULL && fstat(fd, &after) == 0 &&
            (after.st_mtim.tv_sec != e->st.st_mtim.tv_sec ||
             after.st_mtim.tv_nsec != e->st.st_mtim.tv_nsec || after.st_size != e->st.st_size)) {
            e->warning = vmbi_strdup("it changed while it was read");
        }
    }
    (void)close(fd);
    return rc;
}

static void make_node(void *arg, size_t number)
{
    vmbi_slot *e = arg;
    vmbi_saver_worker *w = &e->maker->s->workers[number];
    vmbi_node node = {0};
    if (e->content != NULL) {
        e->rc = vmbi_stat_node(e->maker->dirfd, e->name, -1, e->node_name, &e->st, &w->owners, &node,
                               &e->warning, &e->why);
        if (e->rc == VMB_OK) {
            node.content = vmbi_steal(&e->content);
            node.n_content = e->n_content;
        }
    } else {
        e->rc = read_file(e, w, &node, &e->why);
    }
    if (e->rc == VMB_OK && !e->grew) {
        e->size = node.size;
        vmbi_node_print(&node, &e->json);
        e->rc = vmbi_buf_check(&e->json, &e->why, "node");
    }
    vmbi_node_done(&node);
    atomic_store_explicit(&e->done, true, memory_order_release);
}

/* ---- on the walking thread --------------------------------------------------------------------- */

void vmbi_maker_init(vmbi_tree_maker *m, vmbi_saver *s, int dirfd, const char *path)
{
    memset(m, 0, sizeof(*m));
    m->s = s;
    m->dirfd = dirfd;
    m->path = path;
    vmbi_buf_init(&m->text, VMBI_REPO_MAX_BLOB - 1);
    vmbi_buf_adds(&m->text, "{\"nodes\":[");
}

static vmb_code check_text(const vmbi_tree_maker *m, vmb_error **err)
{
    if (m->text.status == VMB_E_LIMIT) {
        return vmbi_fail(err, VMB_E_LIMIT, "its list of %zu entries takes more than %d MiB", m->n,
                         VMBI_REPO_MAX_BLOB >> 20);
    }
    return vmbi_buf_check(&m->text, err, "tree");
}

static void begin_node(vmbi_tree_maker *m)
{
    if (m->n++ > 0) {
        vmbi_buf_addc(&m->text, ',');
    }
}

static void warn_entry(vmbi_tree_maker *m, const char *name, const char *text)
{
    vmbi_buf path = VMBI_BUF_INIT(1024 * 1024);
    vmbi_buf_addf(&path, "%s%s%s", m->path, name[0] == '/' ? "" : "/", name);
    vmbi_saver_warn(m->s, path.data != NULL ? path.data : name, text);
    vmbi_buf_free(&path);
}

/* A file that grew beyond one blob after it was listed. */
static vmb_code read_grown(vmbi_tree_maker *m, vmbi_slot *e)
{
    vmbi_node node = {0};
    int fd = open_file(m->dirfd, e->name);
    e->rc = fd >= 0 && fstat(fd, &e->st) == 0 ? VMB_OK : vmbi_fail_errno(&e->why, errno, "open");
    if (e->rc == VMB_OK && !S_ISREG(e->st.st_mode)) {
        e->rc = vmbi_fail(&e->why, VMB_E_IO, "it was a file and is none any more");
    }
    if (e->rc == VMB_OK) {
        vmbi_free(vmbi_steal(&e->warning));
        e->rc = vmbi_stat_node(m->dirfd, e->name, fd, e->node_name, &e->st, &m->s->owners, &node,
                               &e->warning, &e->why);
    }
    if (e->rc == VMB_OK) {
        e->rc = vmbi_saver_large(m->s, fd, &e->st, false, &node, &e->why);
    }
    if (e->rc == VMB_OK) {
        e->size = node.size;
        vmbi_node_print(&node, &e->json);
        e->rc = vmbi_buf_check(&e->json, &e->why, "node");
    }
    vmbi_node_done(&node);
    if (fd >= 0) {
        (void)close(fd);
    }
    return e->rc;
}

/* Appends what a worker has made, or says why it is missing. */
static vmb_code take(vmbi_tree_maker *m, vmbi_slot *e, vmb_error **err)
{
    vmbi_saver *s = m->s;
    if (e->rc == VMB_OK && e->grew) {
        (void)read_grown(m, e);
    }
    if (e->warning != NULL) {
        warn_entry(m, e->name, e->warning);
    }
    if (e->rc != VMB_OK) {
        vmb_code rc = e->rc;
        if (e->fatal || vmbi_saver_is_fatal(s, rc)) {
            vmbi_error_move(err, &e->why);
            return rc;
        }
        warn_entry(m, e->name, vmb_error_message(e->why));
        return VMB_OK;
    }
    begin_node(m);
    vmbi_buf_add(&m->text, e->json.data, e->json.len);
    s->stats.files++;
    s->stats.bytes += e->size;
    s->stats.bytes_read += e->read;
    if (s->options->progress != NULL) {
        s->options->progress(s->options->user, &s->stats);
    }
    return check_text(m, err);
}

/* Takes the slots at the head that are done; all: waits for the others. */
static vmb_code drain(vmbi_tree_maker *m, bool all, vmb_error **err)
{
    vmb_code rc = VMB_OK;
    if (all) {
        rc = vmbi_pool_wait(&m->s->pool, &m->group, err);
    }
    while (rc == VMB_OK && m->first != NULL &&
           atomic_load_explicit(&m->first->done, memory_order_acquire)) {
        vmbi_slot *e = m->first;
        m->first = e->next;
        m->last = m->first == NULL ? NULL : m->last;
        m->n_slots--;
        rc = take(m, e, err);
        free_slot(e); /* a pool does not look at a task's job after it has run */
    }
    return rc;
}

vmb_code vmbi_maker_add(vmbi_tree_maker *m, const vmbi_node *node, vmb_error **err)
{
    vmb_code rc = m->first != NULL ? drain(m, true, err) : VMB_OK;
    if (rc == VMB_OK) {
        begin_node(m);
        vmbi_node_print(node, &m->text);
        rc = check_text(m, err);
    }
    return rc;
}

vmb_code vmbi_maker_wait(vmbi_tree_maker *m, vmb_error **err)
{
    return drain(m, true, err);
}

vmb_code vmbi_maker_file(vmbi_tree_maker *m, const char *name, const char *node_name,
                         const struct stat *st, vmbi_repo_id *content, size_t n_content,
                         vmb_error **err)
{
    vmb_code rc = drain(m, m->n_slots >= VMBI_SAVER_MAX_SLOTS, err);
    vmbi_slot *e = rc == VMB_OK ? vmbi_zalloc(sizeof(*e)) : NULL;
    if (e != NULL) {
        e->name = vmbi_strdup(name);
        /* a node is called like the end of its name */
        e->node_name = e->name != NULL ? e->name + strlen(name) - strlen(node_name) : NULL;
    }
    if (e == NULL || e->name == NULL) {
        vmbi_free(e);
        vmbi_free(content);
        return rc != VMB_OK ? rc : vmbi_fail_nomem(err);
    }
    e->maker = m;
    e->st = *st;
    e->content = content;
    e->n_content = n_content;
    vmbi_buf_init(&e->json, VMBI_REPO_MAX_BLOB);
    if (m->last != NULL) {
        m->last->next = e;
    } else {
        m->first = e;
    }
    m->last = e;
    m->n_slots++;
    vmbi_pool_run(&m->s->pool, &e->job, make_node, e, &m->group);
    return VMB_OK;
}

vmb_code vmbi_maker_save(vmbi_tree_maker *m, vmbi_repo_id *id, vmb_error **err)
{
    bool known = false;
    vmb_code rc = drain(m, true, err);
    if (rc == VMB_OK) {
        vmbi_buf_adds(&m->text, "]}\n");
        rc = check_text(m, err);
    }
    if (rc == VMB_OK) {
        rc = vmbi_pool_save_now(&m->s->pool, VMBI_BLOB_TREE, m->text.data, m->text.len, id, &known,
                                err);
        m->s->stats.tree_blobs += rc == VMB_OK && !known ? 1 : 0;
    }
    return rc;
}

void vmbi_maker_done(vmbi_tree_maker *m)
{
    (void)vmbi_pool_wait(&m->s->pool, &m->group, NULL);
    while (m->first != NULL) {
        vmbi_slot *next = m->first->next;
        free_slot(m->first);
        m->first = next;
    }
    vmbi_buf_free(&m->text);
}
