"""Glewlwyd, Debian's OIDC provider, with an SQLite database of its own and one client."""

import base64
import http.cookiejar
import json
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

from auth_support import free_port

SCHEMA = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3"
CLIENT, SECRET = "tracker", "tracker-secret"

CONFIG = """
port={port}
bind_address="127.0.0.1"
external_url="http://127.0.0.1:{port}"
login_url="login.html"
api_prefix="api"
log_mode="console"
log_level="WARNING"
cookie_secure=0
session_expiration=3600
session_key="SESSION"
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="/usr/lib/glewlwyd/user"
client_module_path="/usr/lib/glewlwyd/client"
user_auth_scheme_module_path="/usr/lib/glewlwyd/scheme"
plugin_module_path="/usr/lib/glewlwyd/plugin"
hash_algorithm="SHA512"
database = {{ type="sqlite3"; path="{dir}/glewlwyd.db"; }}
"""


def is_installed():
    return shutil.which("glewlwyd") is not None and os.path.exists(SCHEMA) and shutil.which("openssl") is not None


class Glewlwyd:
    def __init__(self):
        self.dir = tempfile.TemporaryDirectory()
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}/api"
        database = sqlite3.connect(os.path.join(self.dir.name, "glewlwyd.db"))
        with open(SCHEMA, encoding="utf-8") as schema:
            database.executescript(schema.read())
        database.close()
        self.config = os.path.join(self.dir.name, "glewlwyd.conf")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(port=self.port, dir=self.dir.name))
        self.start()
        self.make("/scope/", {"name": "waymark", "display_name": "waymark", "password_required": False, "scheme": {}})
        self.make(
            "/client/",
            {
                "client_id": CLIENT,
                "name": CLIENT,
                "confidential": True,
                "enabled": True,
                "client_secret": SECRET,
                "redirect_uri": ["http://localhost/"],
                "authorization_type": ["client_credentials"],
                "token_endpoint_auth_method": ["client_secret_basic"],
                "scope": ["waymark"],
            },
        )

    def start(self):
        log = os.path.join(self.dir.name, "log")
        with open(log, "ab") as out:
            self.process = subprocess.Popen(["glewlwyd", "--config-file", self.config], stdout=out, stderr=out)
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(cookies)
        end = time.monotonic() + 30
        while True:
            try:
                self.call("POST", "/auth/", {"username": "admin", "password": "password"})
                return
            except urllib.error.URLError:
                if time.monotonic() > end or self.process.poll() is not None:
                    with open(log, encoding="utf-8") as text:
                        raise AssertionError("glewlwyd does not serve: " + text.read()) from None
                time.sleep(0.05)

    def halt(self):
        self.process.terminate()
        self.process.wait(20)

    def stop(self):
        self.halt()
        self.dir.cleanup()

    def call(self, method, path, body=None, form=None, basic=None):
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if form is not None:
            data = urllib.parse.urlencode(form).encode()
        if basic:
            headers["Authorization"] = "Basic " + base64.b64encode(basic.encode()).decode()
        request = urllib.request.Request(self.base + path, data=data, method=method, headers=headers)
        with self.opener.open(request, timeout=20) as answer:
            return answer.read().decode()

    def make(self, path, body):
        self.call("POST", path, body)

    def keys(self, kind):
        """A private and a public key in PEM."""
        commands = {
            "rsa": ["openssl", "genrsa", "2048"],
            "ecdsa": ["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout"],
        }
        private = subprocess.run(commands[kind], check=True, capture_output=True).stdout
        family = {"rsa": "rsa", "ecdsa": "ec"}[kind]
        public = subprocess.run(
            ["openssl", family, "-pubout"], input=private, check=True, capture_output=True
        ).stdout
        return private.decode(), public.decode()

    def issuer(self, name, kind="rsa", lifetime_s=3600, secret=None, replace=False):
        """Makes, or makes anew with another key, the issuer of this name; its URL and public key."""
        private, public = (secret, None) if kind == "sha" else self.keys(kind)
        parameters = {
            "iss": f"{self.base}/{name}",
            "jwt-type": kind,
            "jwt-key-size": "256",
            "key": private,
            "access-token-duration": lifetime_s,
            "refresh-token-duration": 3600,
            "code-duration": 600,
            "refresh-token-rolling": True,
            "allow-non-oidc": True,
            "auth-type-code-enabled": False,
            "auth-type-token-enabled": False,
            "auth-type-id-token-enabled": False,
            "auth-type-password-enabled": False,
            "auth-type-client-enabled": True,
            "auth-type-refresh-enabled": False,
            "jwks-show": True,
            "subject-type": "public",
            "resource-allowed": True,
            "resource-scope": {"waymark": ["https://another.example"]},
            "resource-client-property": "",
            "resource-scope-and-client-property": False,
            "resource-change-allowed": False,
        }
        if public:
            parameters["cert"] = public
        if replace:
            self.call("DELETE", f"/mod/plugin/{name}")
        self.make(
            "/mod/plugin/",
            {"module": "oidc", "name": name, "display_name": name, "parameters": parameters},
        )
        return parameters["iss"], public

    def token(self, name, resource=None):
        """An access token by client credentials; `aud` is the scope, or the resource."""
        form = {"grant_type": "client_credentials", "scope": "waymark"}
        if resource:
            form["resource"] = resource
        answer = self.call("POST", f"/{name}/token", form=form, basic=f"{CLIENT}:{SECRET}")
        return json.loads(answer)["access_token"]
