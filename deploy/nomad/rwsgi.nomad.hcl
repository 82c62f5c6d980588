# The image deploy/Dockerfile builds, as a Nomad service:
#
#     nomad job run deploy/nomad/rwsgi.nomad.hcl

job "web" {
  type = "service"

  # A deployment is given up, and the old version kept, if the new one does not get healthy.
  update {
    max_parallel      = 1
    canary            = 1
    auto_promote      = true
    auto_revert       = true
    min_healthy_time  = "10s"
    healthy_deadline  = "2m"
    progress_deadline = "5m"
  }

  group "web" {
    count = 2

    network {
      port "http" {}
      port "status" {}
    }

    service {
      name     = "web"
      port     = "http"
      provider = "nomad"

      check {
        type     = "http"
        port     = "status"
        path     = "/readyz"
        interval = "10s"
        timeout  = "5s"
      }
    }

    # Out of the catalogue first, TERM after that: nobody is sent to an instance that drains.
    shutdown_delay = "5s"

    task "rwsgi" {
      driver = "docker"

      config {
        image           = "registry.example.com/web:1"
        ports           = ["http", "status"]
        readonly_rootfs = true
        cap_drop        = ["all"]
        mount {
          type   = "tmpfs"
          target = "/tmp"
          tmpfs_options {
            size = 268435456
          }
        }
      }

      env {
        RWSGI_WSGI_APP         = "hello:application"
        PORT                   = "${NOMAD_PORT_http}"
        RWSGI_STATUS_BIND      = "0.0.0.0:${NOMAD_PORT_status}"
        WEB_CONCURRENCY        = "2"
        RWSGI_GRACEFUL_TIMEOUT = "30"
      }

      kill_signal = "SIGTERM"
      # Longer than RWSGI_GRACEFUL_TIMEOUT.
      kill_timeout = "40s"

      resources {
        cpu    = 1000
        memory = 512
      }
    }
  }
}
