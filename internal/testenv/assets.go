// SPDX-License-Identifier: Apache-2.0

package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	modulePath       = "github.com/oauth-operator/oauth-operator"
	kubernetesModule = "k8s.io/kubernetes"
	assetsVariable   = "KUBEBUILDER_ASSETS"
)

// moduleRoot walks up from the working directory to the product's module, past modules nested in it.
func moduleRoot() (string, error) {
	directory, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module's root: %w", err)
	}
	for {
		content, err := os.ReadFile(filepath.Join(directory, "go.mod"))
		if err == nil && bytes.HasPrefix(content, []byte("module "+modulePath+"\n")) {
			return directory, nil
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("find the module's root: %w", err)
		}
		parent := filepath.Dir(directory)
		if parent == directory {
			return "", fmt.Errorf("the working directory is not below a checkout of %s", modulePath)
		}
		directory = parent
	}
}

// kubernetesVersion reads the version that the control plane's module pins; make controlplane names its output so.
func kubernetesVersion(root string) (string, error) {
	path := filepath.Join(root, "hack", "controlplane", "go.mod")
	content, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the pinned Kubernetes version: %w", err)
	}
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(strings.TrimPrefix(line, "require "))
		if len(fields) >= 2 && fields[0] == kubernetesModule {
			return fields[1], nil
		}
	}
	return "", fmt.Errorf("%s does not require %s", path, kubernetesModule)
}

// asset returns the path of one program of the control plane: from KUBEBUILDER_ASSETS when it is there, which archives
// of envtest need not be for kube-controller-manager, else from bin/controlplane.
func asset(root, name string) (string, error) {
	version, err := kubernetesVersion(root)
	if err != nil {
		return "", err
	}
	directories := []string{filepath.Join(root, "bin", "controlplane", version)}
	if override := os.Getenv(assetsVariable); override != "" {
		directories = append([]string{override}, directories...)
	}
	for _, directory := range directories {
		path := filepath.Join(directory, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not in %s: run make controlplane", name, strings.Join(directories, " or "))
}
