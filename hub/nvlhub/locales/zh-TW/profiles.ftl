# 方案：拒絕的理由、草稿的錯誤，以及編輯畫面的用語。
profile-not-for = 未啟動「{ $profile }」：它不開放給專案「{ $project }」使用。請選擇啟動頁面提供給此專案的方案，或請管理員開放給該專案或其計畫。
profile-draft = version：「{ $profile }」的第 { $version } 版不是已發布的版本，只有管理員可以啟動。省略此欄即啟動已發布的版本。
profile-stale = 在您讀取之後，{ $made_by } 已建立「{ $profile }」的第 { $version } 版；您的內容未儲存，對方的內容也未遺失。清單「diff」列出對方改了什麼：比對之後，請以目前的 ETag 再送出一次。
profile-no-earlier = 「{ $profile }」沒有更早發布過的版本，因此無法回復。請直接發布您要的版本。
profile-published-other = published：「{ $profile }」目前發布的是第 { $version } 版，不是第 { $given } 版：期間有人發布或回復過。未變更任何內容，請重新讀取。
profile-one-draft = 草稿只送一次：用「fields」或用「yaml」。
profile-too-large = 方案超過 { $most } 位元組，未讀取。請精簡內容。
profile-shape = 第 { $line } 行：這不是方案。方案是一組「鍵: 值」，如 docs/profiles.md 所示。
profile-key-unknown = 這裡沒有 { $names } 這個鍵。可用的鍵：{ $known }。
profile-key-twice = { $names } 在這裡出現兩次，請只留一次。
profile-mapping = { $field }：這裡需要名稱與值，如「NAME: value」，一行一個。
profile-list = { $field }：這裡需要簡稱的清單，如 [physics, ai]。
profile-single = { $field }：這裡只能有單一值。
profile-missing = { $field }：未填；每個方案都需要。
profile-line = 「{ $given }」：應寫成 NAME=value 的形式。
profile-hint-line = 「{ $given }」：應寫成 slurm.partition=gb300 的形式：引擎、句點、名稱。
profile-hint-value = { $field }：提示的名稱由字母、數字、- 與 _ 組成；值為 true、false、數字，或不超過 200 字元且不含 <、>、& 的一行文字。
profile-signs-name = { $field }：簡稱為 1 到 40 個 a-z、0-9，連字號只能在中間。
profile-signs-variable = { $field }：變數名稱由 A-Z、0-9 與 _ 組成且不以數字開頭，值為一行文字。
profile-signs-text = { $field }：含有不允許的字元：換行、<、>、& 或看不見的字元。
profile-variable-reserved = 方案不能設定 { $name }：它決定執行哪些程式、以誰的身分、在哪些 GPU 上。請拿掉。

trial-mailbox = 已在 { $address } 為節點代理程式開啟信箱。
trial-asked = 已申請租約 { $lease }：{ $gpus } × GPU，最多 { $hours } GPU 小時。
trial-waiting = 目前沒有空位；租約在佇列中等候。
trial-placed = 有空位了：{ $where }。
trial-hello = 節點代理程式已從 { $host } 回應。
trial-ran = 已執行一個小型 Python 工作，找到：{ $devices }。
trial-none = 沒有 GPU
trial-back = 已歸還租約。
trial-charged = 這次測試向專案 { $project } 收取 { $charged } GPU 小時：{ $gpus } × GPU，{ $seconds } 秒。
trial-silent = { $seconds } 秒內沒有節點代理程式的消息。它的紀錄在入口網站的資料目錄；租約已歸還。
trial-ended = 租約已結束：{ $detail }
trial-failed = 工作以狀態 { $rc } 結束：{ $tail }
trial-devices = 工作看到的 GPU 與租約的不同：{ $devices }。
trial-stopped = 測試已停止。
