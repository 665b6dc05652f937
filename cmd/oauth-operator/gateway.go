// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/oauth-operator/oauth-operator/internal/gateway"
	"github.com/oauth-operator/oauth-operator/internal/gateway/limit"
	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
)

func gatewayCommand(common *commonOptions) *cobra.Command {
	options := gateway.Options{Version: version}
	command := &cobra.Command{
		Use:   "gateway",
		Short: "Serve connect links, the callback of providers, and their webhooks",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := validateGateway(options); err != nil {
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
			process, err := gateway.New(config, options)
			if err != nil {
				return err
			}
			return process.Run(command.Context())
		},
	}
	addGatewayFlags(command.Flags(), &options)
	return command
}

func addGatewayFlags(flags *pflag.FlagSet, o *gateway.Options) {
	flags.StringVar(&o.ExternalURL, "external-url", "",
		"the address that people and providers reach the gateway at, such as https://oauth.example.com; the controller needs the same (required)")
	flags.StringVar(&o.KeysDir, "keys-dir", "",
		"directory at which the Secret gateway-keys is mounted (default: a key of this process alone, so for one replica, and no webhooks)")
	flags.StringSliceVar(&o.TrustedProxies, "trusted-proxies", nil,
		"CIDRs or addresses of the proxies in front, whose X-Forwarded-For tells clients apart; limits are for each client")
	flags.StringVar(&o.BindAddress, "bind-address", ":8080", "address of the public server")
	flags.StringVar(&o.TLSCertFile, "tls-cert-file", "",
		"certificate (PEM), with those that it was issued by; read again when it changes (default: plain HTTP, behind a proxy that ends TLS)")
	flags.StringVar(&o.TLSPrivateKeyFile, "tls-private-key-file", "", "private key (PEM) of the certificate")
	flags.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", ":8081", "address of /healthz, /readyz and /metrics; 0 turns them off")
	flags.StringVar(&o.Title, "title", "", "name on top of the pages (default oauth-operator)")
	flags.StringVar(&o.LogoURL, "logo-url", "", "picture beside the title: an absolute https URL")
}

// validateGateway says which flag is wrong.
func validateGateway(o gateway.Options) error {
	if _, err := gateway.ParseExternalURL(o.ExternalURL); err != nil {
		return fmt.Errorf("--external-url %q: %w", o.ExternalURL, err)
	}
	if _, err := limit.ParseProxies(o.TrustedProxies); err != nil {
		return fmt.Errorf("--trusted-proxies: %w", err)
	}
	if (o.TLSCertFile == "") != (o.TLSPrivateKeyFile == "") {
		return errors.New("--tls-cert-file and --tls-private-key-file go together")
	}
	if o.BindAddress == "" {
		return errors.New("--bind-address must not be empty")
	}
	if o.LogoURL != "" && pages.LogoOrigin(o.LogoURL) == "" {
		return fmt.Errorf("--logo-url %q: want an absolute https URL without user name", o.LogoURL)
	}
	return nil
}
