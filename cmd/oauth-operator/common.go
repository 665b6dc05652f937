// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// namespaceFile tells a pod its own namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

const defaultNamespace = "oauth-operator-system"

// commonOptions are the flags of all commands.
type commonOptions struct {
	kubeconfig, namespace, logLevel, logFormat string
}

func (o *commonOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "path of a kubeconfig file (default: the pod's own credentials)")
	flags.StringVar(&o.namespace, "namespace", "", "the operator's namespace (default: the pod's own, else "+defaultNamespace+")")
	flags.StringVar(&o.logLevel, "log-level", "info", "debug, info or error")
	flags.StringVar(&o.logFormat, "log-format", "json", "json or text")
}

// restConfig never falls back to another cluster than the one that was meant.
func (o *commonOptions) restConfig() (*rest.Config, error) {
	if o.kubeconfig == "" {
		config, err := rest.InClusterConfig()
		if err != nil {
			return nil, fmt.Errorf("not in a pod, so --kubeconfig is needed: %w", err)
		}
		return config, nil
	}
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig %s: %w", o.kubeconfig, err)
	}
	return config, nil
}

// operatorNamespace is the flag's, else the pod's own, else the default.
func (o *commonOptions) operatorNamespace() string {
	if o.namespace != "" {
		return o.namespace
	}
	if o.kubeconfig == "" {
		if own, err := os.ReadFile(namespaceFile); err == nil && strings.TrimSpace(string(own)) != "" {
			return strings.TrimSpace(string(own))
		}
	}
	return defaultNamespace
}

// auditFlush is how long a line of the audit may wait for others: a write by itself costs a caller more than all else here.
const auditFlush = 100 * time.Millisecond

// auditLogger writes whatever --log-level says, which is about the process and not about its callers. Lines are written several at
// once; stop writes what is left.
func (o *commonOptions) auditLogger(to io.Writer) (log logr.Logger, stop func() error, err error) {
	config, err := o.zapConfig()
	if err != nil {
		return logr.Logger{}, nil, err
	}
	encoder := zapcore.NewJSONEncoder(config.EncoderConfig)
	if config.Encoding == "console" {
		encoder = zapcore.NewConsoleEncoder(config.EncoderConfig)
	}
	// A terminal or a pipe cannot be synced: nothing but Write is asked of it.
	out := &zapcore.BufferedWriteSyncer{WS: zapcore.AddSync(struct{ io.Writer }{to}), FlushInterval: auditFlush}
	return zapr.NewLogger(zap.New(zapcore.NewCore(encoder, out, zapcore.InfoLevel))), out.Stop, nil
}

// logger writes to standard error. What client-go and controller-runtime say goes the same way.
func (o *commonOptions) logger() (logr.Logger, error) {
	config, err := o.zapConfig()
	if err != nil {
		return logr.Logger{}, err
	}
	built, err := config.Build()
	if err != nil {
		return logr.Logger{}, fmt.Errorf("make the logger: %w", err)
	}
	log := zapr.NewLogger(built)
	klog.SetLogger(log)
	ctrl.SetLogger(log)
	// What net/http says there quotes what a server has sent.
	zap.RedirectStdLog(zap.NewNop())
	return log, nil
}

func (o *commonOptions) zapConfig() (zap.Config, error) {
	levels := map[string]zapcore.Level{"debug": zapcore.DebugLevel, "info": zapcore.InfoLevel, "error": zapcore.ErrorLevel}
	level, ok := levels[o.logLevel]
	if !ok {
		return zap.Config{}, fmt.Errorf("--log-level %q: want debug, info or error", o.logLevel)
	}
	config := zap.NewProductionConfig()
	config.Level = zap.NewAtomicLevelAt(level)
	config.Sampling = nil
	config.DisableStacktrace = true
	config.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	switch o.logFormat {
	case "json":
	case "text":
		config.Encoding = "console"
	default:
		return zap.Config{}, fmt.Errorf("--log-format %q: want json or text", o.logFormat)
	}
	return config, nil
}
