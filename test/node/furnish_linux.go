package node

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// furnish makes new namespaces a place for a node. It changes nothing of the machine.
func furnish(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"set the name of the node", func() error { return syscall.Sethostname([]byte(Name)) }},
		{"mount", func() error { return mountAll(dir) }},
		{"hide the machine's tunables", func() error { return hideTunables(dir) }},
		{"make the network", func() error { return makeNetwork(ctx) }},
		{"use nftables", func() error {
			_, err := command(ctx, "nft", "add table ip probe; delete table ip probe")
			return err
		}},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s in namespaces of its own: %w", step.what, err)
		}
	}
	return nil
}

// mountAll makes the mounts private, /proc and /sys those of the namespaces, /run empty, and lets what is written below /var go
// to the folder.
func mountAll(dir string) error {
	upper, work, cgroups := filepath.Join(dir, "var"), filepath.Join(dir, "var-work"), filepath.Join(dir, "cgroups")
	for _, folder := range []string{upper, work, cgroups} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}{
		{"", "/", "", syscall.MS_REC | syscall.MS_PRIVATE, ""},
		{"proc", "/proc", "proc", 0, ""},
		{cgroupFolder, cgroups, "", syscall.MS_BIND | syscall.MS_REC, ""},
		{"sysfs", "/sys", "sysfs", 0, ""},
		{cgroups, cgroupFolder, "", syscall.MS_BIND | syscall.MS_REC, ""},
		{"tmpfs", "/run", "tmpfs", 0, "mode=755"},
		{"overlay", "/var", "overlay", 0, "lowerdir=/var,upperdir=" + upper + ",workdir=" + work},
		{"", "/", "", syscall.MS_REC | syscall.MS_SHARED, ""}, // Pods see mounts that are made later.
	} {
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return &os.PathError{Op: "mount", Path: m.target, Err: err}
		}
	}
	if err := syscall.Unmount(cgroups, syscall.MNT_DETACH); err != nil {
		return &os.PathError{Op: "unmount", Path: cgroups, Err: err}
	}
	return errors.Join(os.Mkdir("/run/netns", 0o755), os.Mkdir("/run/lock", 0o755))
}

// hideTunables gives the kubelet files of its own in the place of the settings of the machine's kernel that it insists on.
func hideTunables(dir string) error {
	for name, value := range map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	} {
		file := filepath.Join(dir, "tunable-"+filepath.Base(name))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o644); err != nil {
			return err
		}
		if err := syscall.Mount(file, "/proc/sys/"+name, "", syscall.MS_BIND, ""); err != nil {
			return &os.PathError{Op: "mount", Path: name, Err: err}
		}
	}
	return nil
}

// makeNetwork gives the node an address on a pair of interfaces that lead nowhere. Connections to Services need a way to begin with, and
// nftables then sends them to pods.
func makeNetwork(ctx context.Context) error {
	for _, args := range []string{
		"link set lo up", "link add node0 type veth peer name node1", "link set node0 up", "link set node1 up",
		"address add " + address + "/24 dev node0", "route add default dev node0",
	} {
		if _, err := command(ctx, "ip", strings.Fields(args)...); err != nil {
			return err
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1\n"), 0o644)
}

// missing lists the programs that the machine lacks.
func missing() []string {
	var missing []string
	for _, program := range []string{"go", "ip", "nft", "buildah"} {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	if _, _, err := runtimes(); err != nil {
		missing = append(missing, err.Error())
	}
	if _, err := busybox(); err != nil {
		missing = append(missing, err.Error())
	}
	return missing
}

// busybox returns the path of a busybox that needs no library.
func busybox() (string, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return "", errors.New("busybox")
	}
	file, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("a busybox that is a program: %w", err)
	}
	defer file.Close() // It was only read.
	if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 {
		return "", errors.New("a busybox without libraries")
	}
	return path, nil
}
