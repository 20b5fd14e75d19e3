// SPDX-License-Identifier: Apache-2.0
// The C API from C++: handles in unique_ptr, failures as exceptions, an exec provider as a class.
// usage: backup CLUSTER-DIR STORE-DIR   (existing folders, STORE-DIR as an absolute path)
#include <vmbackup/vmbackup.h>

#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>

namespace
{

struct Release {
    void operator()(vmb_ctx *p) const { vmb_ctx_unref(p); }
    void operator()(vmb_spec *p) const { vmb_spec_free(p); }
    void operator()(vmb_run *p) const { vmb_run_free(p); }
    void operator()(vmb_selector *p) const { vmb_selector_free(p); }
    void operator()(char *p) const { vmb_free(p); }
};
template <class T> using Owned = std::unique_ptr<T, Release>;

// Calls a function of the library with `&err` last; a failure becomes an exception.
template <class Call> void check(Call call)
{
    vmb_error *err = nullptr;
    if (call(&err) != VMB_OK) {
        std::string message = vmb_error_message(err);
        vmb_error_free(err);
        throw std::runtime_error(message);
    }
}

// Answers the hooks of the demo's pods. Nothing may be thrown into C: exec catches.
class Guest
{
  public:
    int commands = 0;

    static vmb_code exec(void *user, vmb_job *, const char *ns, const char *pod, const char *,
                         const char *const *argv, size_t argc, vmb_sink *out, vmb_sink *,
                         int32_t *exit_code, vmb_error **err) noexcept
    {
        try {
            std::string text = std::string(ns) + "/" + pod + ":";
            for (size_t i = 0; i < argc; i++) {
                text += std::string(" ") + argv[i];
            }
            std::cout << "hook " << text << "\n";
            static_cast<Guest *>(user)->commands++;
            *exit_code = 0;
            return vmb_sink_write(out, text.data(), text.size(), err);
        } catch (const std::exception &e) {
            vmb_error_set(err, VMB_E_PROVIDER, 0, e.what());
            return VMB_E_PROVIDER;
        }
    }

    vmb_exec_provider provider()
    {
        vmb_exec_provider p = {};
        p.struct_size = sizeof(p);
        p.api_version = VMB_PROVIDER_API;
        p.name = "guest";
        p.user = this;
        p.exec = exec;
        return p;
    }
};

bool matches(const char *text, const char *key, const char *value)
{
    vmb_selector *raw = nullptr;
    check([&](vmb_error **err) { return vmb_selector_parse(text, &raw, err); });
    Owned<vmb_selector> selector(raw);
    const char *const labels[] = {key, value};
    int32_t yes = 0;
    check([&](vmb_error **err) {
        return vmb_selector_matches(selector.get(), labels, 1, &yes, err);
    });
    return yes != 0;
}

Owned<vmb_ctx> context(const std::string &cluster, const std::string &store, Guest &guest)
{
    vmb_ctx *raw = nullptr;
    check([&](vmb_error **err) { return vmb_ctx_new(&raw, err); });
    Owned<vmb_ctx> ctx(raw);
    const std::string settings = "{\"path\": \"" + cluster + "\"}";
    const std::string location = "{\"apiVersion\": \"velero.io/v1\", "
                                 "\"kind\": \"BackupStorageLocation\", \"metadata\": {\"name\": \"default\"}, \"spec\": {\"provider\": "
                                 "\"vmbackup.io/dir\", \"config\": {\"path\": \"" +
                                 store + "\"}}}";
    check([&](vmb_error **err) {
        return vmb_ctx_use(raw, "cluster.dir", settings.data(), settings.size(), err);
    });
    for (const char *name : {"actions.kubernetes", "actions.kubevirt"}) {
        check([&](vmb_error **err) { return vmb_ctx_use(raw, name, nullptr, 0, err); });
    }
    const vmb_exec_provider exec = guest.provider();
    check([&](vmb_error **err) { return vmb_ctx_add_exec_provider(raw, &exec, err); });
    check([&](vmb_error **err) {
        return vmb_ctx_add_location(raw, location.data(), location.size(), err);
    });
    return ctx;
}

std::string back_up(vmb_ctx *ctx)
{
    vmb_spec *raw_spec = nullptr;
    vmb_run *raw_run = nullptr;
    check([&](vmb_error **err) { return vmb_spec_new("cxx", &raw_spec, err); });
    Owned<vmb_spec> spec(raw_spec);
    check([&](vmb_error **err) {
        return vmb_spec_add_string(raw_spec, "spec.includedNamespaces", "shop", err);
    });
    check([&](vmb_error **err) {
        return vmb_spec_set_bool(raw_spec, "spec.snapshotVolumes", 0, err);
    });
    check([&](vmb_error **err) { return vmb_run_new(ctx, raw_spec, &raw_run, err); });
    Owned<vmb_run> run(raw_run);
    check([&](vmb_error **err) { return vmb_run_execute(raw_run, err); });
    return vmb_run_phase(raw_run);
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 3) {
        std::cerr << "usage: " << argv[0] << " CLUSTER-DIR STORE-DIR\n";
        return 2;
    }
    try {
        Guest guest; // outlives the context
        std::cout << "app=web matches: " << matches("app in (web,db)", "app", "web") << "\n";
        const Owned<vmb_ctx> ctx = context(argv[1], argv[2], guest);
        const std::string phase = back_up(ctx.get());
        std::cout << phase << ", " << guest.commands << " hooks\n";
        return phase == "Completed" ? 0 : 1;
    } catch (const std::exception &e) {
        std::cerr << "backup: " << e.what() << "\n";
        return 1;
    }
}
