// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/oauth-operator/oauth-operator/internal/egress"
	"github.com/oauth-operator/oauth-operator/internal/rest"
)

func apiCommand(common *commonOptions) *cobra.Command {
	options := rest.Options{Version: version}
	command := &cobra.Command{
		Use:   "api",
		Short: "Serve programs in the cluster: their connections, and requests to providers through them",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := validateAPI(options); err != nil {
				return err
			}
			audit, flush, err := common.auditLogger(os.Stderr)
			if err != nil {
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
			options.Namespace, options.Log, options.Audit = common.operatorNamespace(), log, audit
			process, err := rest.New(config, options)
			if err != nil {
				return err
			}
			return errors.Join(process.Run(command.Context()), flush())
		},
	}
	addAPIFlags(command.Flags(), &options)
	return command
}

func addAPIFlags(flags *pflag.FlagSet, o *rest.Options) {
	flags.StringSliceVar(&o.Audiences, "token-audience", []string{rest.DefaultAudience},
		"audience that callers' tokens must be for; several: one of them is enough")
	flags.StringVar(&o.BindAddress, "bind-address", ":8443", "address of the server for callers")
	flags.StringVar(&o.TLSCertFile, "tls-cert-file", "",
		"certificate (PEM), with those that it was issued by; read again when it changes (default: plain HTTP, behind a proxy that ends TLS)")
	flags.StringVar(&o.TLSPrivateKeyFile, "tls-private-key-file", "", "private key (PEM) of the certificate")
	flags.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", ":8081", "address of /healthz, /readyz and /metrics; 0 turns them off")
	flags.StringSliceVar(&o.Egress.AllowPrivate, "allow-private-networks", nil,
		"CIDRs, addresses or host names that requests to providers may reach although they are loopback, link-local, private or cluster addresses; only these may be plain http; the controller needs the same")
	flags.StringSliceVar(&o.Egress.Deny, "deny-networks", nil, "more CIDRs or addresses to refuse, such as the pod and service ranges")
}

// validateAPI says which flag is wrong.
func validateAPI(o rest.Options) error {
	if len(o.Audiences) == 0 || slices.Contains(o.Audiences, "") {
		return errors.New("--token-audience must not be empty")
	}
	if (o.TLSCertFile == "") != (o.TLSPrivateKeyFile == "") {
		return errors.New("--tls-cert-file and --tls-private-key-file go together")
	}
	if o.BindAddress == "" {
		return errors.New("--bind-address must not be empty")
	}
	if _, err := egress.New(o.Egress); err != nil {
		return fmt.Errorf("egress: %w", err)
	}
	return nil
}
