# 以 Slurm 工作執行的伺服器：啟動期間以及無法啟動時告訴使用者的內容。
servers-submitted = 您的伺服器是叢集的工作 { $job }。
servers-running = 您的伺服器已取得節點 { $node }，正在該處啟動。
servers-listening = 您的伺服器已有回應。
servers-away = 叢集目前沒有回應。恢復後會自動繼續啟動。
servers-expected = { $why }預計 { $wait }後啟動。
servers-no-scheduler = 叢集沒有回應，因此沒有啟動您的伺服器。執行中的項目照常進行。請一分鐘後再試。
servers-no-account-here = 沒有啟動您的伺服器：這台機器上沒有帳號 { $user } 可用來執行。請入口網站的管理者建立帳號。
servers-not-root = 沒有啟動您的伺服器：{ $user } 是這台機器的系統管理員，伺服器不會以該身分執行。請以其他帳號登入。
servers-not-permitted = 沒有啟動您的伺服器：hub 無權以 { $user } 的身分執行工作。請告知入口網站的管理者。
servers-no-tls = 沒有啟動您的伺服器：hub 的內部加密（internal_ssl）尚不支援叢集節點上的伺服器。請告知入口網站的管理者。
servers-refused = 叢集沒有接受您的伺服器工作。{ $why }
servers-refused-account = 叢集沒有接受您的伺服器工作：您不屬於叢集中任何可執行工作的帳戶。請入口網站的管理者將您加入。
servers-refused-limit = 叢集沒有接受您的伺服器工作：您在叢集的帳戶已達上限。請停止不再需要的伺服器或工作，或詢問入口網站的管理者。
servers-waited = 您的伺服器在 { $span }內沒有取得位置，因此放棄啟動。{ $why }請稍後再試。
servers-silent = 您的伺服器工作 { $job } 正在執行，但 { $span }內沒有伺服器回應。請再試一次；若再次失敗，請告知入口網站的管理者。
servers-ended = 您的伺服器工作 { $job } 在伺服器回應之前就結束了：{ $why }。請再次啟動；若再次失敗，請告知入口網站的管理者。
servers-ended-log = 其紀錄的結尾：
