package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	cgroupFolder = "/sys/fs/cgroup"
	// cgroupMagic and cgroup2Magic are the types of file systems of linux/magic.h.
	cgroupMagic, cgroup2Magic = 0x27e0eb, 0x63677270
	// emptyTimeout is how long the kernel may take until a cgroup whose processes were killed is empty.
	emptyTimeout = 10 * time.Second
)

// hierarchies returns the roots of the cgroup hierarchies: one of version 2, or those of version 1 beside each other.
func hierarchies() ([]string, error) {
	isCgroup := func(path string) bool {
		var s syscall.Statfs_t
		return syscall.Statfs(path, &s) == nil && (s.Type == cgroupMagic || s.Type == cgroup2Magic)
	}
	if isCgroup(cgroupFolder) {
		return []string{cgroupFolder}, nil
	}
	entries, err := os.ReadDir(cgroupFolder)
	if err != nil {
		return nil, fmt.Errorf("find the cgroups: %w", err)
	}
	var roots []string
	for _, entry := range entries {
		if path := filepath.Join(cgroupFolder, entry.Name()); entry.IsDir() && isCgroup(path) {
			roots = append(roots, path)
		}
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("no cgroups are mounted at %s", cgroupFolder)
	}
	return roots, nil
}

// makeCgroups makes a cgroup in every hierarchy.
func makeCgroups(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			return errors.Join(fmt.Errorf("make a cgroup: %w", err), removeCgroups(name))
		}
		// A cgroup of cpuset takes no process before it has processors and memory.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			value, err := os.ReadFile(filepath.Join(root, file))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err == nil {
				err = os.WriteFile(filepath.Join(root, name, file), value, 0o644)
			}
			if err != nil {
				return errors.Join(fmt.Errorf("furnish a cgroup: %w", err), removeCgroups(name))
			}
		}
	}
	return nil
}

// removeCgroups removes a cgroup from every hierarchy, with those below.
func removeCgroups(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	var errs []error
	for _, root := range roots {
		errs = append(errs, removeCgroup(filepath.Join(root, name)))
	}
	return errors.Join(errs...)
}

// removeCgroup removes the folders from the innermost. Until killed processes are gone the kernel says that it is busy.
func removeCgroup(path string) error {
	var folders []string
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, p)
		}
		return nil
	})
	deadline := time.Now().Add(emptyTimeout)
	for _, folder := range slices.Backward(folders) {
		err := syscall.Rmdir(folder)
		for errors.Is(err, syscall.EBUSY) && time.Now().Before(deadline) {
			time.Sleep(20 * time.Millisecond)
			err = syscall.Rmdir(folder)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the cgroup %s: %w", folder, err)
		}
	}
	return nil
}
