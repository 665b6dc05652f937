// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/oauth-operator/oauth-operator/internal/controller"
)

const (
	defaultWorkers           = 16
	defaultRevocationTimeout = 5 * time.Minute
)

func controllerCommand(common *commonOptions) *cobra.Command {
	options := controller.Options{Version: version}
	command := &cobra.Command{
		Use:   "controller",
		Short: "Obtain, refresh and revoke tokens, and write the Secrets that workloads mount",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := validate(options); err != nil {
				return err
			}
			log, err := common.logger()
			if err != nil {
				return err
			}
			config, err := common.restConfig()
			if err != nil {
				return err
			}
			options.Namespace, options.Log = common.operatorNamespace(), log
			process, err := controller.New(config, options)
			if err != nil {
				return err
			}
			return process.Run(command.Context())
		},
	}
	addControllerFlags(command.Flags(), &options)
	return command
}

func addControllerFlags(flags *pflag.FlagSet, o *controller.Options) {
	flags.StringVar(&o.ExternalURL, "external-url", "", "the gateway's public address, for redirect URLs, such as https://oauth.example.com")
	flags.BoolVar(&o.LeaderElect, "leader-elect", false, "of several controllers, let one work at a time")
	flags.StringVar(&o.MetricsBindAddress, "metrics-bind-address", ":8443", "address of /metrics; 0 turns it off")
	flags.BoolVar(&o.MetricsSecure, "metrics-secure", true, "serve /metrics by HTTPS to callers that TokenReview and SubjectAccessReview let in; false: plain HTTP")
	flags.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz; 0 turns them off")
	flags.IntVar(&o.Workers, "workers", defaultWorkers, "reconcile passes at once, for each kind; providers are called outside of them")
	flags.StringSliceVar(&o.WatchNamespaces, "watch-namespaces", nil, "namespaces to look at, those of applications included (default all)")
	flags.DurationVar(&o.RevocationTimeout, "revocation-timeout", defaultRevocationTimeout, "how long a deletion waits for the provider at most")
	flags.StringSliceVar(&o.Egress.AllowPrivate, "allow-private-networks", nil,
		"CIDRs, addresses or host names that provider URLs may reach although they are loopback, link-local, private or cluster addresses; only these may be plain http")
	flags.StringSliceVar(&o.Egress.Deny, "deny-networks", nil, "more CIDRs or addresses to refuse, such as the pod and service ranges")
}

func validate(o controller.Options) error {
	if o.Workers < 1 {
		return errors.New("--workers must be at least 1")
	}
	if o.RevocationTimeout <= 0 {
		return errors.New("--revocation-timeout must be positive")
	}
	if o.ExternalURL == "" {
		return nil
	}
	external, err := url.Parse(o.ExternalURL)
	if err != nil || external.Host == "" || (external.Scheme != "https" && external.Scheme != "http") {
		return fmt.Errorf("--external-url %q: want an absolute URL such as https://oauth.example.com", o.ExternalURL)
	}
	return nil
}
